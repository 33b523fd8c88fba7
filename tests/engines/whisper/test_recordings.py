"""Recordings of several stretches: begun again after a failure, gone on with from what is kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media.sounds import encoded, wav

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


def sentences() -> Any:
    """Three stretches, each of one sentence."""
    said = np.concatenate(list(Recording(str(SPEECH)).blocks()))
    samples = np.zeros(780 * RATE, np.float32)
    for start in (5, 310, 640):
        samples[start * RATE : start * RATE + len(said)] = said
    return samples


@pytest.fixture
def long(tmp_path: Path) -> Path:
    file = tmp_path / "long.wav"
    file.write_bytes(wav(sentences()))
    return file


def heard(file: Path, keep: Path | None = None) -> Heard:
    found = open_recording(Recording(str(file)), ENGLISH, ())
    found.keep, found.identity = keep, "this"
    return found


def quiet(share: float, told: str = "", /) -> None:
    return


def stopping(after: int) -> Any:
    """An `emit` that stops the work at call number `after`."""
    calls: list[float] = []

    def stop(share: float, told: str = "", /) -> None:
        calls.append(share)
        if len(calls) == after:
            raise Stopped

    return stop


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
    with pytest.raises(Stopped):
        transcribe([heard(long, keep)], whisper, 4, stopping(2))
    assert len(recordings._kept(heard(long, keep))) == 1
    (whole,) = transcribe([heard(long)], whisper, 4, quiet)
    (found,) = transcribe([heard(long, keep)], whisper, 4, quiet)
    assert found == replace(whole)  # type: ignore[type-var]


def test_damage_in_what_is_kept_is_not_forgotten(whisper: Whisper, tmp_path: Path) -> None:
    """The run that goes on reads nothing of the first stretch, and warns of it all the same."""
    draw = np.random.default_rng(0)
    sound = sentences() + draw.normal(0, 0.001, 780 * RATE).astype(np.float32)
    data = bytearray(encoded("mp4", "aac", sound))
    for part in (0.25, 0.6):
        at = data.index(b"mdat") + int(part * len(data))
        data[at : at + 400] = draw.bytes(400)
    file, keep = tmp_path / "long.m4a", tmp_path / "keep"
    file.write_bytes(data)
    whole = heard(file)
    transcribe([whole], whisper, 4, quiet)
    (warning,) = whole.recording.warnings
    assert float(warning.split()[2]) < 300
    with pytest.raises(Stopped):
        transcribe([heard(file, keep)], whisper, 4, stopping(3))
    assert [bool(k.damaged) for k in recordings._kept(heard(file, keep))] == [True, True]
    again = heard(file, keep)
    transcribe([again], whisper, 4, quiet)
    assert again.recording.damaged == whole.recording.damaged
    assert again.recording.warnings == [warning]
