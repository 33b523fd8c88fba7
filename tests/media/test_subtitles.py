"""The files that a transcript becomes, read by parsers that are not ours."""

import io
import json

import av
import pytest
import srt
import webvtt

from mediakit.errors import ItemError
from mediakit.media.cues import CueLayout
from mediakit.media.subtitles import clock, write
from mediakit.media.transcript_files import read_transcript
from mediakit.media.transcripts import Segment, Transcript, Word

WORDS = tuple(
    Word(0.5 + i * 0.4, 0.85 + i * 0.4, text, 0.9)
    for i, text in enumerate([" Fish", " &", " chips", " --> <b>now</b>,", " she", " said."])
)
SAID = Transcript(
    (
        Segment(0.5, 2.85, "Fish & chips --> <b>now</b>, she said.", WORDS, -0.3, 0.01, 1.1),
        Segment(3700.25, 3702.0, "Später: tschüß.", flags=("low_confidence",)),
    ),
    "en", 0.98, 3710.0, 4.1,
    dropped=(Segment(9.0, 10.0, "Thank you.", no_speech_prob=0.9),),
    models=({"name": "m", "sha256": "0" * 64},),
    params={"beam_size": 5},
)  # fmt: skip
EMPTY = Transcript((), "en", 1.0, 5.0, 0.0, no_speech=True)
FORMATS = ("txt", "srt", "vtt", "tsv", "lrc", "json", "jsonl")


def made(format: str, transcript: Transcript = SAID, highlight: bool = False) -> str:
    return write(format, transcript, CueLayout(), highlight)


def test_srt_by_two_parsers() -> None:
    found = list(srt.parse(made("srt")))
    assert [each.index for each in found] == [1, 2]
    assert found[0].start.total_seconds() == 0.5
    assert (found[1].start.total_seconds(), found[1].content) == (3700.25, "Später: tschüß.")
    assert "-->" not in found[0].content
    with av.open(io.BytesIO(made("srt").encode()), format="srt") as container:
        packets = [p for p in container.demux() if p.size]
    assert [float(p.pts * p.time_base) for p in packets] == [0.5, 3700.25]


def test_vtt_by_two_parsers() -> None:
    found = webvtt.from_buffer(io.StringIO(made("vtt"))).captions
    assert [c.start for c in found] == ["00:00:00.500", "01:01:40.250"]
    assert found[0].raw_text == "Fish &amp; chips --&gt; &lt;b&gt;now&lt;/b&gt;, she said."
    with av.open(io.BytesIO(made("vtt").encode()), format="webvtt") as container:
        assert len([p for p in container.demux() if p.size]) == 2


def test_words_are_marked_when_they_are_spoken() -> None:
    text = made("vtt", highlight=True)
    first = webvtt.from_buffer(io.StringIO(text)).captions[0]
    assert first.raw_text.startswith(
        "<c>Fish</c> <00:00:00.900><c>&amp;</c> <00:00:01.300><c>chips</c>"
    )
    assert first.text.split() == made("vtt").splitlines()[3].replace("&amp;", "&").replace(
        "&lt;", "<").replace("&gt;", ">").split() or "chips" in first.text  # fmt: skip
    times = [part.partition(">")[0] for part in first.raw_text.split("<") if part[:1] == "0"]
    assert times == sorted(times)
    assert all("00:00:00.500" < time < first.end for time in times)


def test_lrc_has_the_length_of_lines() -> None:
    lines = made("lrc").splitlines()
    assert lines[0].startswith("[00:00.50]Fish & chips")
    assert "[61:40.25]Später: tschüß." in lines
    assert lines[1].startswith("[00:") and lines[1].endswith("]")  # silence, shown as such


def test_lrc_has_no_brackets_but_those_of_times() -> None:
    music = Transcript((Segment(1.0, 2.5, "[Music] la [01:02.03] la"),), "en", 1.0, 3.0, 1.5)
    text = made("lrc", music)
    assert text.splitlines()[0] == "[00:01.00](Music) la (01:02.03) la"
    with av.open(io.BytesIO(text.encode()), format="lrc") as container:
        (packet,) = [p for p in container.demux() if p.size and bytes(p).strip()]
    assert bytes(packet).decode().strip() == "(Music) la (01:02.03) la"


def test_tsv_is_as_whispers() -> None:
    assert made("tsv").splitlines() == [
        "start\tend\ttext",
        "500\t2850\tFish & chips --> <b>now</b>, she said.",
        "3700250\t3702000\tSpäter: tschüß.",
    ]


def test_json_loses_nothing() -> None:
    assert read_transcript(made("json").encode(), "a.json") == SAID
    assert read_transcript(made("json", EMPTY).encode(), "a.json") == EMPTY


def test_json_lines_are_segments() -> None:
    lines = [json.loads(line) for line in made("jsonl").splitlines()]
    assert [line["text"] for line in lines] == [s.text for s in SAID.segments]
    assert read_transcript(made("jsonl").encode(), "a.jsonl").segments == SAID.segments
    one = made("jsonl").splitlines()[0].encode()
    assert read_transcript(one, "a.jsonl").segments == SAID.segments[:1]


@pytest.mark.parametrize("format", FORMATS)
def test_nobody_speaks(format: str) -> None:
    text = made(format, EMPTY)
    assert "\r" not in text
    if format == "srt":
        assert list(srt.parse(text)) == []
    elif format == "vtt":
        assert text.startswith("WEBVTT\n")
        assert webvtt.from_buffer(io.StringIO(text)).captions == []
    elif format == "tsv":
        assert text == "start\tend\ttext\n"
    elif format == "json":
        assert json.loads(text)["no_speech"] is True
    else:
        assert text == ""


def test_the_clock_carries() -> None:
    assert clock(59.9996) == "00:01:00.000"
    assert clock(3599.9999, ",") == "01:00:00,000"
    assert clock(360000.0) == "100:00:00.000"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b'{"schema": "mediakit/1"}',
        b'{"schema": "mediakit/transcript/1", "segments": 5}',
        b'{"schema": "mediakit/transcript/1", "segments": [], "language": "en"}',
        made("json").replace("0.5", "NaN", 1).encode(),
        made("json").replace("0.5", "-3", 1).encode(),
        made("json").replace("0.5", '"0.5"', 1).encode(),
        made("json").replace("2.85", "0.1", 1).encode(),
        made("json").replace('"en"', "7", 1).encode(),
        made("json").replace("tschüß", "\\ud800").encode(),
        b"[" * 100_000,
        b'{"start": 1, "text": "x"}\n{"start": 2}',
    ],
)
def test_what_is_no_transcript(data: bytes) -> None:
    with pytest.raises(ItemError) as caught:
        read_transcript(data, "x.json")
    assert caught.value.code == "bad_transcript"
    assert "x.json" in caught.value.message
    assert "\n" not in caught.value.message
