"""A pipeline of diffusers in a loop of its own: loaded once, then a prompt at a time.

As diffusers' documentation shows it in "Load pipelines" and "Reproducible pipelines"; the safety
checker, which the nets measured here don't have, is left out.
"""

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--guidance", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    import torch
    from diffusers import DiffusionPipeline

    torch.set_num_threads(args.threads)
    pipeline = DiffusionPipeline.from_pretrained(args.model, safety_checker=None)
    for number, prompt in enumerate(args.prompts.read_text().splitlines()):
        for seed in args.seeds:
            image = pipeline(
                prompt,
                num_inference_steps=args.steps,
                guidance_scale=args.guidance,
                generator=torch.Generator().manual_seed(seed),
            ).images[0]
            image.save(args.output / f"{number}-{seed}.png")


if __name__ == "__main__":
    main()
