"""Trains the starter captioner on drawn pictures, as drawn, degraded, and after the autoencoder."""

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin starve a shared machine

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import BlipForConditionalGeneration, BlipProcessor

from tools.starter.draw import training_set
from tools.starter.run import Run, device
from tools.starter.train_vae import arguments, real

from .degrade import degrade
from .measure import drawn, score
from .nets import captioner, processor

SEED = 3
PICTURES = 12_000
BATCH = 64
RATE = 1e-2
AFTER = 0.25  # so many pictures more, each one of the others after the autoencoder
_LOOSE = 0.5  # noise on the latents on that way, at most: what the U-Net leaves is not perfect
_LOOK = 200  # pictures for each look at how far it is


def main() -> None:
    parser = arguments(__doc__, steps=1500, pictures=PICTURES)
    parser.add_argument("--vae", type=Path, required=True, help="the starter model's autoencoder")
    parser.add_argument("--look", type=int, default=250, help="steps between two measurements")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    both = processor()
    model = captioner(both.tokenizer).to(device())
    pictures, ids = cached(options.work, options.vae, both, options.pictures)
    run = Run(options.work / "captioner", {"blip": model}, options.steps, every=100, rate=RATE)
    losses = []
    while run.step < run.steps:
        chosen = torch.randint(0, len(ids), (BATCH,))
        loss = loss_of(model, both, degrade(pictures[chosen]), ids[chosen])
        run.update(loss)
        losses.append(loss.item())
        if run.step % 50 == 0:
            run.log(f"loss {sum(losses) / len(losses):.4f}")
            losses = []
        if run.step % options.look == 0 or run.step == run.steps:
            with run.averaged():
                model.eval()
                asked, images = drawn(_LOOK)
                run.log(score(model, both, images, asked).words)
                model.train()
                model.save_pretrained(options.work / "captioner" / "trained")


@torch.no_grad()
def cached(work: Path, autoencoder: Path, both: BlipProcessor, count: int) -> tuple[Tensor, Tensor]:
    """Pictures (count x 3 x SIDE x SIDE, uint8), as drawn and after the autoencoder, and their
    captions' tokens. Only those whose caption says all."""
    file = work / "captioner" / "training.pt"
    if not file.exists():
        pixels, captions = training_set(count, SEED)
        whole = [i for i, caption in enumerate(captions) if caption.endswith("background")]
        as_drawn = torch.from_numpy(pixels[whole]).permute(0, 3, 1, 2)
        vae = AutoencoderKL.from_pretrained(autoencoder).to(device())
        again = round(AFTER * len(whole))
        after = [_after(vae, some) for some in as_drawn[:again].split(64)]
        ids = tokens(both, [captions[i] for i in whole + whole[:again]])
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save((torch.cat([as_drawn, *after]), ids), file)
    pictures, ids = torch.load(file, weights_only=True)
    return pictures, ids


def _after(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    latents = vae.encode(real(pictures)).latent_dist.mean
    loose = _LOOSE * torch.rand(len(latents), 1, 1, 1, device=latents.device)
    made = vae.decode(latents + loose * torch.randn_like(latents)).sample
    return ((made.clamp(-1, 1) + 1) * 127.5).round().byte().cpu().contiguous()


def tokens(both: BlipProcessor, captions: list[str]) -> Tensor:
    """[DEC], the words, [SEP], and [PAD] to the longest: what BLIP's decoder learns to say."""
    ids = both.tokenizer(captions, padding=True, return_tensors="pt").input_ids
    ids[:, 0] = both.tokenizer.bos_token_id
    return ids


def loss_of(
    model: BlipForConditionalGeneration, both: BlipProcessor, pictures: Tensor, ids: Tensor
) -> Tensor:
    """Cross entropy of the next token."""
    ids = ids.to(device())
    values = both.image_processor(pictures, return_tensors="pt").pixel_values
    said = ids != both.tokenizer.pad_token_id
    return model(
        pixel_values=values.to(device()),
        input_ids=ids,
        attention_mask=said,
        labels=ids.masked_fill(~said, -100),
    ).loss


if __name__ == "__main__":
    main()
