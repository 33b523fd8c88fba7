"""The record as one line of JSON, also for names that are no text."""

import base64
import json
import os

from mediakit.batch.record import to_json


def test_a_record_is_one_line_of_utf_8() -> None:
    line = to_json({"input": "é\n🙂", "outputs": []})
    assert line == '{"input": "é\\n🙂", "outputs": []}'.encode()


def test_bytes_that_are_not_utf_8_have_a_twin() -> None:
    odd = os.fsdecode(b"\xff.png")
    record = {
        "input": odd,
        "inputs": {"image": odd},
        "outputs": ["a.png", odd],
        "artifacts": [{"path": odd, "bytes": 3}],
        "error": None,
    }
    b64 = base64.b64encode(b"\xff.png").decode()
    assert json.loads(to_json(record)) == {
        "input": "\ufffd.png",
        "input_b64": b64,
        "inputs": {"image": "\ufffd.png", "image_b64": b64},
        "outputs": ["a.png", "\ufffd.png"],
        "outputs_b64": [base64.b64encode(b"a.png").decode(), b64],
        "artifacts": [{"path": "\ufffd.png", "path_b64": b64, "bytes": 3}],
        "error": None,
    }
