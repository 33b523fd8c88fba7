"""The transcript's JSON is what docs/transcript.md says."""

import json
import re
from dataclasses import fields
from pathlib import Path

from mediakit.media.transcript_files import read_transcript
from mediakit.media.transcripts import FLAGS, Segment, Transcript

DOCS = (Path(__file__).parents[2] / "docs/transcript.md").read_text()


def test_the_documented_example_comes_back_as_it_is() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)
    read = read_transcript(example.encode(), "docs")
    assert json.loads(json.dumps(read.to_json())) == json.loads(example)


def test_every_field_and_flag_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", DOCS))
    for kind in (Transcript, Segment):
        assert {field.name for field in fields(kind)} <= documented
    assert set(FLAGS) == set(re.findall(r"^- `(\w+)`:", DOCS, re.MULTILINE))
