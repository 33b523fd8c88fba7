"""Trains the starter model's autoencoder, and makes its latents' mean 0 and deviation 1."""

import argparse
import math
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin starve a shared machine

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from . import nets
from .draw import training_set
from .run import Run, device

SEED = 1
PICTURES = 16_000
UNSEEN = 64  # more pictures, to measure on
BATCH = 16
NOISE = 0.1  # on the latents, so that the decoder forgives the U-Net's small errors


def main() -> None:
    options = arguments(__doc__, steps=500).parse_args()
    torch.manual_seed(SEED)
    count = options.pictures
    pictures = tensors(count + UNSEEN)
    vae = nets.autoencoder().to(device(), memory_format=torch.channels_last)
    run = Run(options.work / "vae", {"vae": vae}, options.steps, every=100)
    while run.step < run.steps:
        batch = pictures[torch.randint(0, count, (BATCH,))]
        loss = loss_of(vae, real(batch))
        run.update(loss)
        if run.step % 50 == 0:
            with run.averaged():
                decibels = psnr(vae, real(pictures[count:]))
            run.log(f"loss {loss.item():.4f}, averaged weights {decibels:.2f} dB")
    with run.averaged():
        standardize(vae, real(pictures[:1024]))
        vae.save_pretrained(options.work / "vae" / "trained")


def arguments(what: str | None, steps: int, pictures: int = PICTURES) -> argparse.ArgumentParser:
    """What all trainings take."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--work", type=Path, required=True, help="checkpoints and the log")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--pictures", type=int, default=pictures)
    return parser


def tensors(count: int) -> Tensor:
    """The training pictures, count x 3 x SIDE x SIDE, uint8."""
    return torch.from_numpy(training_set(count, SEED)[0]).permute(0, 3, 1, 2)


def real(pictures: Tensor) -> Tensor:
    """From 0..255 to -1..1, where the networks are."""
    scaled = pictures.to(device()).float() / 127.5 - 1
    return scaled.contiguous(memory_format=torch.channels_last)


def loss_of(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Absolute error, of the pixels and of their steps (edges); a pull of the latents to 0."""
    latents = vae.encode(pictures).latent_dist.mean
    made = vae.decode(latents + NOISE * torch.randn_like(latents)).sample
    error = made - pictures
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * edges + 1e-3 * latents.square().mean()


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    """Decibels between pictures and what is decoded of them."""
    made = vae.decode(vae.encode(pictures).latent_dist.mean).sample.clamp(-1, 1)
    return 10 * math.log10(4 / (made - pictures).square().mean().item())


@torch.no_grad()
def standardize(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Fold into the 1 x 1 convolutions what makes each latent channel's mean 0 and deviation 1.

    The posterior's deviation becomes the noise that the decoder was trained with.
    """
    latents = vae.encode(pictures).latent_dist.mean
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    before, after, count = vae.quant_conv, vae.post_quant_conv, len(mean)
    before.weight[:count] /= deviation[:, None, None, None]
    before.bias[:count] = (before.bias[:count] - mean) / deviation
    before.weight[count:] = 0
    before.bias[count:] = 2 * (NOISE / deviation).log()
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= deviation[None, :, None, None]


if __name__ == "__main__":
    main()
