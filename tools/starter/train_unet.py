"""Trains the starter model's U-Net and text encoder on the trained autoencoder's latents."""

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin starve a shared machine

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor

from . import nets
from .draw import PLACES, SHAPES, SIDE, SIZES, Scene, training_set
from .measure import colours_and_shapes, held_out
from .run import Run, device
from .tokenizer import starter_tokenizer
from .train_vae import SEED, arguments, real

BATCH = 16
NOISY = 700  # of the schedule's 1,000 times: from here on a picture's signal is below 6 %
RATE = 2e-3  # at 1e-2 the noise of small batches hides what places and shapes have to teach
UNSAID = 0.1  # part of the captions replaced by "", for classifier-free guidance
ASKED = 60  # held-out prompts for each look at how far it is

Table = tuple[Tensor, Tensor, Tensor]  # latents, tokens, weights: a row a picture


def main() -> None:
    parser = arguments(__doc__, steps=7000)
    parser.add_argument("--look", type=int, default=500, help="steps between two measurements")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    pipe = pipeline(options.work)
    tables = [cached(options.work, pipe, options.pictures, exact) for exact in (False, True)]
    parts = {"unet": pipe.unet, "text": pipe.text_encoder}
    run = Run(options.work / "unet", parts, options.steps, every=100, rate=RATE)
    losses = []
    while run.step < run.steps:
        loss = loss_of(pipe, *batch(tables))
        run.update(loss)
        losses.append(loss.item())
        if run.step % 50 == 0:
            run.log(f"loss {sum(losses) / len(losses):.4f}")
            losses = []
        if run.step % options.look == 0 or run.step == run.steps:
            with run.averaged():
                run.log(colours_and_shapes(pipe, held_out(ASKED)).words)
                pipe.save_pretrained(options.work / "trained")


def pipeline(work: Path) -> StableDiffusionPipeline:
    """The trained autoencoder with untrained other parts."""
    tokenizer = starter_tokenizer()
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(work / "vae" / "trained"),
        text_encoder=nets.text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=nets.unet().to(memory_format=torch.channels_last),
        scheduler=nets.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device())


@torch.no_grad()
def cached(work: Path, pipe: StableDiffusionPipeline, count: int, exact: bool) -> Table:
    """The latents of all training pictures, their captions' tokens and weights."""
    file = work / "unet" / ("exact.pt" if exact else "training.pt")
    if not file.exists():
        pictures, captions = training_set(count, SEED, exact)
        batches = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(64)
        latents = [pipe.vae.encode(real(some)).latent_dist.mean.cpu() for some in batches]
        weights = torch.stack([weights_of(caption) for caption in captions])
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save((torch.cat(latents), tokens(pipe, captions), weights), file)
    latents, ids, weights = torch.load(file, weights_only=True)
    return latents, ids, weights


def batch(tables: list[Table]) -> list[Tensor]:
    """Latents, tokens and weights: as many of each table, in the tables' order."""
    chosen = [torch.randint(0, len(table[0]), (BATCH // len(tables),)) for table in tables]
    columns = zip(*tables, strict=True)
    return [
        torch.cat([column[rows] for column, rows in zip(same, chosen, strict=True)]).to(device())
        for same in columns
    ]


def weights_of(caption: str) -> Tensor:
    """How much the error counts at each latent: more in the square where the shape must be.

    1 x side x side, mean 1. It follows from the caption alone, so what is learned stays right.
    """
    side, cell = nets.LATENT_SIDE, SIDE // nets.LATENT_SIDE
    weights = torch.ones(1, side, side)
    if any(shape in caption for shape in SHAPES):
        size = next((size for size in SIZES if size and size in caption), "")
        place = next((place for place in PLACES if place and place in caption), "")
        x, y, radius = Scene("", "", "", size, place).circle
        middles = (torch.arange(side) + 0.5) * cell
        near = [(middles - middle).abs() < radius + cell for middle in (y, x)]
        square = near[0][:, None] & near[1]
        weights[:, square] += weights.numel() / 2 / square.sum()
    return weights / weights.mean()


def tokens(pipe: StableDiffusionPipeline, captions: list[str]) -> Tensor:
    """As the pipeline itself makes them of prompts."""
    made = pipe.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    return made.input_ids


def loss_of(pipe: StableDiffusionPipeline, latents: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Squared error of the predicted velocity; the batch's halves are jittered and exact.

    Half of the times are the noisy ones, where the caption alone decides what is to be seen: most
    of the error was there. There the pictures are exact, so that the error is the network's own
    and not the jitter's, which no caption can foretell (and was more than half of it).
    """
    count = len(latents)
    unsaid = torch.rand(count, 1, device=ids.device) < UNSAID
    ids = torch.where(unsaid, tokens(pipe, [""]).to(ids.device), ids)
    weights = torch.where(unsaid[..., None, None], 1.0, weights)
    noise = torch.randn_like(latents)
    even = (torch.arange(count) + torch.rand(count)) / count  # less noise than independent times
    last = pipe.scheduler.config.num_train_timesteps
    noisiest = NOISY + (2 * even - 1) * (last - NOISY)
    times = torch.where(even < 0.5, 2 * even * NOISY, noisiest).long().clamp(max=last - 1)
    times = times.to(latents.device)
    noisy = pipe.scheduler.add_noise(latents, noise, times)
    velocity = pipe.scheduler.get_velocity(latents, noise, times)
    said = pipe.text_encoder(ids).last_hidden_state
    error = pipe.unet(noisy, times, said).sample - velocity
    return (weights * error.square()).mean()


if __name__ == "__main__":
    main()
