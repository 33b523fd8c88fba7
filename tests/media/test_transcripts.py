"""The transcript's JSON is what docs/transcript.md says."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from mediakit.errors import ItemError
from mediakit.media.cues import CueLayout
from mediakit.media.subtitles import write
from mediakit.media.transcript_files import read_transcript
from mediakit.media.transcripts import FLAGS, Segment, Transcript

DOCS = (Path(__file__).parents[2] / "docs/transcript.md").read_text()


def test_the_documented_example_comes_back_as_it_is() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)
    read = read_transcript(example.encode(), "docs")
    assert json.loads(json.dumps(read.to_json())) == json.loads(example)


def test_a_segment_a_line_whatever_is_in_it() -> None:
    odd = "one\u2028two\x85three\x0bfour"  # ends of lines to str.splitlines, none in JSON Lines
    said = Transcript((Segment(0, 1, odd), Segment(1, 2, odd)), "en", 1.0, 2.0, 2.0)
    data = write("jsonl", said, CueLayout()).encode()
    assert [segment.text for segment in read_transcript(data, "a.jsonl").segments] == [odd, odd]


def test_no_line_is_a_transcript_of_nothing() -> None:
    for data in (b"", b"\n"):
        read = read_transcript(data, "a.jsonl")
        assert (read.segments, read.duration, read.no_speech) == ((), 0.0, True)
        with pytest.raises(ItemError) as caught:
            read_transcript(data, "a.json")
        assert caught.value.code == "bad_transcript"


def test_every_field_and_flag_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", DOCS))
    for kind in (Transcript, Segment):
        assert {field.name for field in fields(kind)} <= documented
    assert set(FLAGS) == set(re.findall(r"^- `(\w+)`:", DOCS, re.MULTILINE))
