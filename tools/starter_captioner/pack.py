"""Puts the trained starter captioner into the package: half precision, limit of size, digests."""

import argparse
import shutil
from pathlib import Path

from transformers import BlipForConditionalGeneration

from tools.starter.pack import full_precision, seal

from .nets import processor

LIMIT = 8 * 2**20  # bytes, all files together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trained", type=Path)
    parser.add_argument("into", type=Path, help="replaced where it is there")
    options = parser.parse_args()
    pack(options.trained, options.into)


def pack(trained: Path, into: Path) -> None:
    """Write the folder that ships; SystemExit where it would be too large."""
    part = into.with_name(into.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    BlipForConditionalGeneration.from_pretrained(trained).half().save_pretrained(part)
    processor().save_pretrained(part)
    full_precision(part / "config.json")
    seal(part, into, LIMIT)


if __name__ == "__main__":
    main()
