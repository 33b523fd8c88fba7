"""Recordings of several stretches: begun again after a failure, gone on with from what is kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mediakit.engines.whisper import recordings
from mediakit.engines.whisper.engine import Whisper
from mediakit.engines.whisper.recordings import Heard, open_recording, transcribe
from mediakit.engines.whisper.request import RATE, Request
from mediakit.errors import Stopped
from mediakit.media.audio import Recording

SPEECH = Path(__file__).parents[2] / "data" / "speech" / "sense-and-sensibility-0930.flac"
ENGLISH = Request(language="en")


class Enough(Exception):
    pass


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Three stretches, each of one sentence."""
    import wave

    said = np.concatenate(list(Recording(str(SPEECH)).blocks()))
    samples = np.zeros(780 * RATE, np.float32)
    for start in (5, 310, 640):
        samples[start * RATE : start * RATE + len(said)] = said
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return tmp_path / "long.wav"


def heard(file: Path, keep: Path | None = None) -> Heard:
    found = open_recording(Recording(str(file)), ENGLISH, ())
    found.keep, found.identity = keep, "this"
    return found


def quiet(share: float, told: str = "", /) -> None:
    return


def test_after_a_failure_nothing_is_missing(long: Path, whisper: Whisper) -> None:
    """The runner computes the same recording again, with less memory or fewer beside it."""
    (whole,) = transcribe([heard(long)], whisper, 4, quiet)
    again = heard(long)

    def fail(share: float, told: str = "", /) -> None:
        raise Enough

    with pytest.raises(Enough):
        transcribe([again], whisper, 4, fail)
    (found,) = transcribe([again], whisper, 4, quiet)
    assert found == whole
    assert [round(s.start) // 300 for s in found.segments] == [0, 1, 2]  # type: ignore[union-attr]


def test_what_is_kept_is_read_up_to_where_it_is_torn(
    long: Path, whisper: Whisper, tmp_path: Path
) -> None:
    keep = tmp_path / "keep" / "x"
    (whole,) = transcribe([heard(long, keep)], whisper, 4, quiet)
    lines = keep.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4  # a head, and three stretches
    for torn in (lines[2][:40], b'{"end": 5}\n', b"[]\n", b"\xff\xff\n", b""):
        keep.write_bytes(lines[0] + lines[1] + torn)
        assert [k.end for k in recordings._kept(heard(long, keep))] == [json.loads(lines[1])["end"]]
        assert keep.read_bytes() == lines[0] + lines[1]
        (found,) = transcribe([heard(long, keep)], whisper, 4, quiet)
        assert found == whole
        assert keep.read_bytes() == b"".join(lines)


def test_what_is_kept_of_other_work_is_not_used(
    long: Path, whisper: Whisper, tmp_path: Path
) -> None:
    keep = tmp_path / "x"
    transcribe([heard(long, keep)], whisper, 4, quiet)
    other = heard(long, keep)
    other.identity = "other"
    assert recordings._kept(other) == []


def test_stopped_between_stretches(long: Path, whisper: Whisper, tmp_path: Path) -> None:
    keep = tmp_path / "x"
    calls: list[Any] = []

    def stop(share: float, told: str = "", /) -> None:
        calls.append(share)
        if len(calls) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        transcribe([heard(long, keep)], whisper, 4, stop)
    assert len(recordings._kept(heard(long, keep))) == 1
    (whole,) = transcribe([heard(long)], whisper, 4, quiet)
    (found,) = transcribe([heard(long, keep)], whisper, 4, quiet)
    assert found == replace(whole)  # type: ignore[type-var]
