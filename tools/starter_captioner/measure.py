"""Measures the starter captioner on scenes that neither model was trained on: pictures as drawn,
of other sizes, degraded; and what the text-to-image starter made of their captions."""

import argparse
import json
import os
import random
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin starve a shared machine

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor

from tools.starter.draw import COLOURS, PLACES, SHAPES, SIZES, Scene, picture
from tools.starter.measure import generate, held_out

from .degrade import degrade

PICTURES = 200
OTHER_SIZES = (128, 512)  # pixels a side
_SEED = 7
_BATCH = 50
_LONGEST = 20  # tokens; of the captions it has 12


@dataclass(frozen=True)
class Score:
    """Parts (0..1) of the captions with both colours right, with the shape, with all three, and
    word for word right."""

    colours: float
    shapes: float
    all: float
    captions: float
    pictures: int

    @property
    def words(self) -> str:
        return (
            f"both colours right in {self.colours:.1%}, shape in {self.shapes:.1%}, all in"
            f" {self.all:.1%}, every word in {self.captions:.1%} of {self.pictures} held-out scenes"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captioner", type=Path)
    parser.add_argument("painter", type=Path, help="the text-to-image starter")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--out", type=Path, help="the JSON file for the figures")
    options = parser.parse_args()
    model = BlipForConditionalGeneration.from_pretrained(options.captioner)
    both = BlipProcessor.from_pretrained(options.captioner)
    asked, images = drawn(options.pictures)
    seen: dict[str, list[Image.Image]] = {"drawn": images}
    for side in OTHER_SIZES:
        seen[f"drawn_{side}"] = [image.resize((side, side)) for image in images]
    seen["degraded"] = degraded(images)
    started = time.process_time()
    figures: dict[str, object] = {
        name: asdict(score(model, both, some, asked)) for name, some in seen.items()
    }
    count = sum(len(some) for some in seen.values())
    figures["cpu_seconds_a_picture"] = round((time.process_time() - started) / count, 3)
    painter = StableDiffusionPipeline.from_pretrained(options.painter)
    painter.set_progress_bar_config(disable=True)
    asked = held_out(options.pictures)
    made = generate(painter, [scene.caption for scene in asked])
    figures["generated"] = asdict(
        score(model, both, [Image.fromarray(pixels) for pixels in made], asked)
    )
    print(json.dumps(figures, indent=2))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


def drawn(count: int) -> tuple[list[Scene], list[Image.Image]]:
    """Scenes that training never saw, and a picture of each, no two alike."""
    rng = random.Random(_SEED)
    asked = held_out(count, seed=_SEED)
    return asked, [picture(scene, rng) for scene in asked]


def degraded(images: list[Image.Image]) -> list[Image.Image]:
    """As in training, with chances of their own; torch's are left as they were."""
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        made = degrade(pixels.permute(0, 3, 1, 2))
    return [Image.fromarray(pixels) for pixels in made.permute(0, 2, 3, 1).numpy()]


def captions(
    model: BlipForConditionalGeneration, both: BlipProcessor, images: list[Image.Image]
) -> list[str]:
    """Of each picture, by greedy decoding."""
    said: list[str] = []
    for start in range(0, len(images), _BATCH):
        values = both(images=images[start : start + _BATCH], return_tensors="pt")
        seen = values.pixel_values.to(model.device)
        found = model.generate(seen, max_new_tokens=_LONGEST, do_sample=False)
        said += both.batch_decode(found, skip_special_tokens=True)
    return said


def score(
    model: BlipForConditionalGeneration,
    both: BlipProcessor,
    images: list[Image.Image],
    asked: list[Scene],
) -> Score:
    """How many captions say what is to be seen."""
    said = captions(model, both, images)
    read = [scene_of(text) for text in said]
    colours = [
        bool(r) and (r.colour, r.background) == (s.colour, s.background)
        for r, s in zip(read, asked, strict=True)
    ]
    shapes = [bool(r) and r.shape == s.shape for r, s in zip(read, asked, strict=True)]
    whole = [c and s for c, s in zip(colours, shapes, strict=True)]
    same = [text == scene.caption for text, scene in zip(said, asked, strict=True)]
    parts = [float(np.mean(part)) for part in (colours, shapes, whole, same)]
    return Score(*parts, len(asked))


def scene_of(caption: str) -> Scene | None:
    """The scene that a caption is of; None where it is of none."""
    found = _CAPTION.fullmatch(caption)
    return Scene(**found.groupdict(default="")) if found else None


def _named(name: str, words: Iterable[str]) -> str:
    return f"(?P<{name}>{'|'.join(word for word in words if word)})"


_CAPTION = re.compile(
    f"a (?:{_named('size', SIZES)} )?{_named('colour', COLOURS)} {_named('shape', SHAPES)}"
    f"(?: {_named('place', PLACES)})? on a {_named('background', COLOURS)} background"
)


if __name__ == "__main__":
    main()
