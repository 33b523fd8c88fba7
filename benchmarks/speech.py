"""Real speech with its text, out of Debian's packages: short clips, and one long recording."""

import gzip
import re
import shutil
import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Unavailable

PACKAGES = ("pocketsphinx-testdata", "asterisk-core-sounds-en-wav", "asterisk-core-sounds-en")
_PAUSE = 0.5  # seconds between the clips of the long recording


@dataclass(frozen=True)
class Clip:
    file: Path
    text: str
    seconds: float


def fetch(folder: Path) -> Path:
    """The packages' files, below `folder`; nothing is installed. Unavailable without apt."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Unavailable("the speech is in Debian's packages, and apt-get is not here")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["apt-get", "download", *PACKAGES], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise Unavailable(f"the packages with speech can't be fetched: {done.stderr.strip()}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "x"], check=True)
    return folder / "x/usr/share"


def clips(share: Path, count: int) -> list[Clip]:
    """`count` clips of 3 to 30 s: those of LibriVox, and telephone prompts evenly drawn."""
    prompts = [clip for clip in _asterisk(share) if 3 <= clip.seconds <= 30]
    books = [clip for clip in _librivox(share) if clip.seconds >= 3][: count // 4]
    left = count - len(books)
    step = max(1, len(prompts) // max(1, left))
    return [*books, *prompts[::step][:left]]


def _librivox(share: Path) -> list[Clip]:
    folder = share / "pocketsphinx/test/data/librivox"
    lines = (folder / "transcription").read_text().splitlines()
    found = (re.fullmatch(r"<s> (.*) </s> \((.*)\)", line.strip()) for line in lines)
    return [_clip(folder / f"{each[2]}.wav", each[1]) for each in found if each]


def _asterisk(share: Path) -> list[Clip]:
    """Without what is spelled, sung, or said in part."""
    (listing,) = share.glob("doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
    (folder,) = share.glob("asterisk/sounds/en_US_f_Allison")
    found = []
    for line in gzip.decompress(listing.read_bytes()).decode("latin-1").splitlines():
        name, _, text = line.strip().partition(":")
        file = folder / f"{name.strip()}.wav"
        if not name.startswith(";") and file.is_file() and not re.search(r"[\[<(]|\.\.\.", text):
            found.append(_clip(file, text.strip()))
    return found


def _clip(file: Path, text: str) -> Clip:
    with wave.open(str(file)) as sound:
        return Clip(file, text, sound.getnframes() / sound.getframerate())


def long(found: list[Clip], seconds: float, file: Path) -> str:
    """Clips one after the other, again and again, in one 8 kHz recording; and its text."""
    texts, made = [], 0.0
    phone = [clip for clip in found if _rate(clip) == 8000]
    with wave.open(str(file), "wb") as into:
        into.setnchannels(1)
        into.setsampwidth(2)
        into.setframerate(8000)
        while made < seconds:
            clip = phone[len(texts) % len(phone)]
            with wave.open(str(clip.file)) as sound:
                into.writeframes(sound.readframes(sound.getnframes()))
            into.writeframes(bytes(2 * int(8000 * _PAUSE)))
            texts.append(clip.text)
            made += clip.seconds + _PAUSE
    return " ".join(texts)


def _rate(clip: Clip) -> int:
    with wave.open(str(clip.file)) as sound:
        return sound.getframerate()
