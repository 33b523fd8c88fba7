"""Puts the trained starter model into the package: half precision, its limit of size, digests."""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

LIMIT = 16 * 2**20  # bytes, all files together
SUMS = "SHA256SUMS"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trained", type=Path)
    parser.add_argument("into", type=Path, help="replaced where it is there")
    options = parser.parse_args()
    pack(options.trained, options.into)


def pack(trained: Path, into: Path) -> None:
    """Write the folder that ships; SystemExit where it would be too large."""
    pipe = StableDiffusionPipeline.from_pretrained(trained).to(torch.float16)
    part = into.with_name(into.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pipe.save_pretrained(part)
    _older_tokenizer(part / "tokenizer")
    full_precision(part / "text_encoder" / "config.json")
    seal(part, into, LIMIT)


def seal(part: Path, into: Path, limit: int) -> None:
    """Move a written folder to where it ships, with its digests and without where it was made."""
    for config in part.rglob("*.json"):
        _without_origin(config)
    files = [path for path in sorted(part.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if size > limit:
        raise SystemExit(f"{size} bytes: the limit is {limit}; make the net smaller in nets.py")
    lines = [f"{_sha256(path)}  {path.relative_to(part).as_posix()}\n" for path in files]
    for path in files:
        path.chmod(0o644)  # safetensors makes files that only their owner may read
    (part / SUMS).write_text("".join(lines))
    shutil.rmtree(into, ignore_errors=True)
    part.rename(into)
    print(f"{into}: {size / 2**20:.1f} MiB")


def _older_tokenizer(folder: Path) -> None:
    """vocab.json and merges.txt beside tokenizer.json: what transformers 4 reads."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False))
    merges = "".join(f"{start} {end}\n" for start, end in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges)


def full_precision(config: Path) -> None:
    """transformers loads in the precision of the configuration, diffusers in float32."""
    found = json.loads(config.read_text())
    found["dtype"] = "float32"
    config.write_text(json.dumps(found, indent=2) + "\n")


def _without_origin(config: Path) -> None:
    """Without where it lay when it was loaded last."""
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if '"_name_or_path"' not in line))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
