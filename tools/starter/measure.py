"""Measures the starter model on scenes it was not trained on: prompts, img2img, inpainting."""

import argparse
import json
import os
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin starve a shared machine

import numpy as np
import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from PIL import Image

from .draw import COLOURS, SHAPES, SIDE, Scene, picture, scenes
from .judge import Pixels, agrees, look

STEPS = 16
GUIDANCE = 3.0
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
PROMPTS = 200
CHANGES = 40  # pictures for img2img at each strength, and for inpainting
MARGIN = 5  # pixels between the largest shape and the mask's edge
_BATCH = 20


@dataclass(frozen=True)
class Score:
    """Parts (0..1) of the pictures with both colours right, and with the shape right."""

    colours: float
    shapes: float
    all: float
    pictures: int

    @property
    def words(self) -> str:
        return (
            f"both colours right in {self.colours:.1%}, shape in {self.shapes:.1%},"
            f" all in {self.all:.1%} of {self.pictures} held-out prompts"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--changes", type=int, default=CHANGES)
    parser.add_argument("--out", type=Path, help="a folder for measured.json and a sheet a task")
    options = parser.parse_args()
    pipe = StableDiffusionPipeline.from_pretrained(options.model)
    pipe.set_progress_bar_config(disable=True)
    asked = held_out(options.prompts)
    started = time.process_time()
    made = generate(pipe, [scene.caption for scene in asked])
    figures: dict[str, object] = {
        "steps": STEPS,
        "guidance_scale": GUIDANCE,
        "cpu_seconds_a_picture": round((time.process_time() - started) / len(made), 2),
        "generate": asdict(score(made, asked)),
    }
    sheets = {"generate": made}
    figures["img2img"], sheets["img2img"] = img2img(pipe, options.changes)
    figures["inpaint"], sheets["inpaint"] = inpaint(pipe, options.changes)
    print(json.dumps(figures, indent=2))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "measured.json").write_text(json.dumps(figures, indent=2) + "\n")
        for name, pictures in sheets.items():
            sheet(pictures).save(options.out / f"{name}.png")


def held_out(count: int, seed: int = 0) -> list[Scene]:
    """Scenes that training never saw; the first `count` of one shuffled order."""
    unseen = [scene for scene in scenes() if scene.held_out]
    random.Random(seed).shuffle(unseen)
    return unseen[:count]


def generate(
    pipe: DiffusionPipeline, prompts: list[str], **inputs: list[Image.Image] | float
) -> list[Pixels]:
    """A picture a prompt, seeded by its place in the list; `inputs` are the pipeline's own."""
    pictures: list[Pixels] = []
    for start in range(0, len(prompts), _BATCH):
        part = slice(start, start + _BATCH)
        made = pipe(
            prompts[part],
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(i) for i in range(len(prompts))[part]],
            **{k: v[part] if isinstance(v, list) else v for k, v in inputs.items()},
        )
        pictures += [np.asarray(image) for image in made.images]
    return pictures


def score(pictures: list[Pixels], asked: list[Scene]) -> Score:
    """How many pictures show what was asked."""
    found = [agrees(look(p), scene) for p, scene in zip(pictures, asked, strict=True)]
    colours, shapes = (float(np.mean([pair[i] for pair in found])) for i in (0, 1))
    return Score(colours, shapes, float(np.mean([all(pair) for pair in found])), len(found))


def colours_and_shapes(pipe: StableDiffusionPipeline, asked: list[Scene]) -> Score:
    """Generate and score."""
    return score(generate(pipe, [scene.caption for scene in asked]), asked)


def img2img(
    pipe: StableDiffusionPipeline, count: int
) -> tuple[list[dict[str, float]], list[Pixels]]:
    """A held-out scene in, another one asked: by strength, how much changes and what is right."""
    changer = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    changer.set_progress_bar_config(disable=True)
    shown = held_out(2 * count)
    given, asked = [picture(scene) for scene in shown[:count]], shown[count:]
    rows, pictures = [], []
    for strength in STRENGTHS:
        prompts = [scene.caption for scene in asked]
        made = generate(changer, prompts, image=given, strength=strength)
        difference = np.mean(
            [np.abs(np.subtract(a, b, dtype=float)) for a, b in zip(given, made, strict=True)]
        )
        rows.append(
            {
                "strength": strength,
                "difference": round(float(difference), 2),
                **asdict(score(made, asked)),
            }
        )
        pictures += made[:12]
    return rows, [np.asarray(image) for image in given[:12]] + pictures


def inpaint(pipe: StableDiffusionPipeline, count: int) -> tuple[dict[str, float], list[Pixels]]:
    """A shape is masked and another of another colour asked for in its place."""
    painter = StableDiffusionInpaintPipeline(**pipe.components, requires_safety_checker=False)
    painter.set_progress_bar_config(disable=True)
    shown = held_out(count, seed=1)
    rng = random.Random(1)
    asked = [_another(scene, rng) for scene in shown]
    given, masks = [picture(scene) for scene in shown], [_mask(scene) for scene in shown]
    prompts = [scene.caption for scene in asked]
    made = generate(painter, prompts, image=given, mask_image=masks, strength=1.0)
    outside = [np.asarray(mask) == 0 for mask in masks]
    changes = [
        np.abs(np.subtract(a, b, dtype=float)).max(axis=2)[where]
        for a, b, where in zip(given, made, outside, strict=True)
    ]
    figures = asdict(score(made, asked)) | {
        "mean_change_outside": round(float(np.mean([c.mean() for c in changes])), 2),
        "pixels_outside_changed_by_40": round(
            float(np.mean([(c > 40).mean() for c in changes])), 4
        ),
    }
    return figures, [np.asarray(image) for image in given[:12]] + made[:12]


def _another(scene: Scene, rng: random.Random) -> Scene:
    colour = rng.choice([c for c in COLOURS if c not in (scene.colour, scene.background)])
    shape = rng.choice([s for s in SHAPES if s != scene.shape])
    return Scene(colour, shape, scene.background, scene.size, scene.place)


def _mask(scene: Scene) -> Image.Image:
    """White in a square about the scene's shape."""
    x, y, radius = scene.circle
    half = round(radius) + MARGIN
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (round(x) - half, round(y) - half, round(x) + half, round(y) + half))
    return mask


def sheet(pictures: list[Pixels], columns: int = 12) -> Image.Image:
    """All pictures in one, row by row."""
    rows = -(-len(pictures) // columns)
    made = Image.new("RGB", (columns * SIDE, rows * SIDE))
    for index, pixels in enumerate(pictures):
        row, column = divmod(index, columns)
        made.paste(Image.fromarray(pixels), (column * SIDE, row * SIDE))
    return made


if __name__ == "__main__":
    main()
