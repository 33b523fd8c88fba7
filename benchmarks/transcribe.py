"""A folder of clips, and a long recording, in one `mediakit transcribe` beside whisper-ctranslate2.

Both sides have the same model, compute type and threads, and write JSON; their texts are compared
with what was said before a ratio counts.
"""

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import speech
from benchmarks.measure import MEDIAKIT, Place, Row, Sample, Side, Unavailable, run, speedup

MODEL = "whisper-tiny.en"
THREADS = str(psutil.cpu_count(logical=False) or 1)
COMPUTE_TYPE = "int8"
WORSE = 0.003  # of the words, that we may get wrong more than they


@dataclass(frozen=True)
class Case:
    name: str
    what: str
    kind: str  # of input: clips, few (clips), long
    options: tuple[str, ...]  # of theirs
    goal: float
    apart: bool = False  # a process a file


CASES = (
    Case("transcribe clips", "at its defaults", "clips", (), 2.3),
    Case("transcribe clips, batched", "--batched True", "clips", ("--batched", "True"), 1.4),
    Case("transcribe 10 minutes", "--batched True", "long", ("--batched", "True"), 1.0),
    Case("transcribe, a process a file", "a shell loop", "few", (), 3, apart=True),
)


def rows(place: Place) -> list[Row]:
    """Unavailable without whisper-ctranslate2, or the speech."""
    beside = Path(sys.executable).with_name("whisper-ctranslate2")
    theirs = str(beside) if beside.exists() else shutil.which("whisper-ctranslate2")
    if not theirs:
        raise Unavailable("it needs whisper-ctranslate2, of the extra reference")
    said = _inputs(place)
    folder = Path(run((*MEDIAKIT, "models", "path", MODEL)).said.strip())
    return [_Run(case, place, theirs, folder, said[case.kind]).row() for case in CASES]


def _inputs(place: Place) -> dict[str, dict[Path, str]]:
    """Kind -> recordings with their texts, each kind in a folder of its own."""
    share = speech.fetch(place.folder / "packages")
    found = speech.clips(share, place.count(60, 4))
    said: dict[str, dict[Path, str]] = {}
    for kind, clips in (("clips", found), ("few", found[:: max(1, len(found) // 8)])):
        folder = place.folder / kind
        folder.mkdir()
        said[kind] = {
            Path(shutil.copy(clip.file, folder / f"{number:02}-{clip.file.name}")): clip.text
            for number, clip in enumerate(clips)
        }
    file = place.folder / "long" / "long.wav"
    file.parent.mkdir()
    said["long"] = {file: speech.long(found, place.count(600, 20), file)}
    return said


@dataclass(frozen=True)
class _Run:
    case: Case
    place: Place
    command: str
    model: Path
    said: dict[Path, str]

    @property
    def inputs(self) -> Path:
        return next(iter(self.said)).parent

    def out(self, whose: str) -> Path:
        return self.place.folder / f"{whose} {self.case.name}"

    def row(self) -> Row:
        return Row(
            name=self.case.name,
            first=Side(f"{len(self.said)} recordings, mediakit transcribe", self.ours),
            second=Side(f"whisper-ctranslate2, {self.case.what}", self.theirs),
            value=speedup,
            goal=self.case.goal,
            unit="times faster",
            at_least=True,
            pairs=self.place.count(3, 1),
            warm=False,  # the check does
            check=self.check,
        )

    def ours(self) -> Sample:
        """--force: made again each time."""
        return run(
            (*MEDIAKIT, "transcribe", self.inputs, "-o", self.out("ours"), "--format", "json",
             "--model", MODEL, "--compute-type", COMPUTE_TYPE, "--device", "cpu",
             "--threads", THREADS, "--force", "-q")
        )  # fmt: skip

    def theirs(self) -> Sample:
        files = [str(file) for file in self.said]
        if not self.case.apart:
            return self._theirs(files)
        total = Sample(0, 0)
        for file in files:
            total += self._theirs([file])
        return total

    def _theirs(self, files: list[str]) -> Sample:
        return run(
            (self.command, *files, "--model_directory", self.model, "--compute_type", COMPUTE_TYPE,
             "--device", "cpu", "--threads", THREADS, "--language", "en", "--output_format", "json",
             "--output_dir", self.out("theirs"), "--verbose", "False", *self.case.options)
        )  # fmt: skip

    def check(self) -> list[str]:
        """Run both once; RuntimeError if ours gets more words wrong."""
        self.ours()
        self.theirs()
        ours, theirs = self.errors("ours"), self.errors("theirs")
        note = f"word error rate {ours:.2%}, theirs {theirs:.2%}"
        if ours > theirs + WORSE and not self.place.quick:
            raise RuntimeError(f"more words are wrong: {note}")
        return [f"{note}, of {sum(len(words(text)) for text in self.said.values())} words"]

    def errors(self, whose: str) -> float:
        """The share of words that are wrong."""
        import jiwer

        heard = [
            json.loads((self.out(whose) / f"{file.stem}.json").read_text())["text"]
            for file in self.said
        ]
        wanted = [" ".join(words(text)) for text in self.said.values()]
        return float(jiwer.wer(wanted, [" ".join(words(text)) for text in heard]))


def words(text: str) -> list[str]:
    """Without case, punctuation, and ways of writing numbers up to ten."""
    plain = re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("'", ""))
    return [_NUMBERS.get(word, word) for word in plain.split()]


_TEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {str(number): word for number, word in enumerate(_TEN)}
