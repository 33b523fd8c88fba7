"""Trains the starter model's decoder further, alone: the latents stay, so the U-Net stays right."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin starve a shared machine

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from .run import Run, device
from .train_vae import BATCH, SEED, UNSEEN, arguments, psnr, real, tensors

RATE = 3e-3  # it has learned at 1e-2 already


def main() -> None:
    options = arguments(__doc__, steps=600).parse_args()
    torch.manual_seed(SEED)
    pictures = tensors(options.pictures + UNSEEN)
    folder = options.work / "trained"  # what train_unet made
    pipe = StableDiffusionPipeline.from_pretrained(folder).to(device())
    vae = pipe.vae.to(memory_format=torch.channels_last)
    vae.encoder.requires_grad_(False)
    parts = {"decoder": vae.decoder, "after": vae.post_quant_conv}
    run = Run(options.work / "decoder", parts, options.steps, every=100, rate=RATE)
    while run.step < run.steps:
        batch = real(pictures[torch.randint(0, options.pictures, (BATCH,))])
        loss = loss_of(vae, batch)
        run.update(loss)
        if run.step % 50 == 0:
            with run.averaged():
                decibels = psnr(vae, real(pictures[options.pictures :]))
            run.log(f"loss {loss.item():.4f}, averaged weights {decibels:.2f} dB")
    with run.averaged():
        pipe.save_pretrained(options.work / "finished")


def loss_of(vae: torch.nn.Module, pictures: Tensor) -> Tensor:
    """Absolute error of pixels and of edges, on latents with the posterior's own noise."""
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.sample()
    error = vae.decode(latents).sample - pictures
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * edges


if __name__ == "__main__":
    main()
