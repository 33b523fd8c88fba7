"""Write names, sizes and digests of the files of a model that ships with mediakit into its catalog
entry, in place of what stands there after `  files:`. To be run whenever its weights were trained:

    python tools/shipped_entry.py mediakit/models/catalog/diffusion_starter.yaml \
        mediakit/models/shipped/starter-diffusion
"""

import sys
from pathlib import Path

from mediakit.models.digests import sha256_of
from mediakit.models.sources import PACKAGE

SUMS = "SHA256SUMS"  # names every other file of the folder


def main(entry: Path, folder: Path) -> None:
    head, files, _ = entry.read_text().partition("\n  files:\n")
    if not files:
        sys.exit(f"{entry} has no line `  files:`")
    place = folder.resolve().relative_to(PACKAGE.resolve()).as_posix()
    lines = [f"{head}{files}"]
    for name in sorted(line.split("  ")[1] for line in (folder / SUMS).read_text().splitlines()):
        path = folder / name
        lines.append(
            f"    - name: {name}\n"
            f"      size: {path.stat().st_size}\n"
            f"      sha256: {sha256_of(path)}\n"
            f'      sources: ["package:{place}/{name}"]\n'
        )
    entry.write_text("".join(lines))
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{entry}: {len(lines) - 1} files, {total / 2**20:.1f} MiB in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
