"""Put each picture of a folder, enlarged by bicubic, beside the one mediakit made of it."""

import sys
from pathlib import Path

from PIL import Image

from mediakit.media.formats import WRITABLE

GAP = 8  # pixels of white between the two


def main(before: Path, after: Path, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    for path in sorted(p for p in before.rglob("*") if p.suffix in WRITABLE):
        made = Image.open(after / path.relative_to(before)).convert("RGB")
        plain = Image.open(path).convert("RGB").resize(made.size, Image.Resampling.BICUBIC)
        sheet = Image.new("RGB", (2 * made.width + GAP, made.height), "white")
        sheet.paste(plain, (0, 0))
        sheet.paste(made, (made.width + GAP, 0))
        sheet.save(into / f"{path.stem}.png")
        print(into / f"{path.stem}.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
