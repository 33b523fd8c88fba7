"""Weights in prompts, long prompts, skipped layers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from engines.diffusion.test_tasks import PIPELINES, by_hand, pixels, request

from mediakit.engines.diffusion.engine import Diffusion
from mediakit.engines.diffusion.prompts import Piece, pieces
from mediakit.engines.diffusion.request import Picture

Open = Callable[..., Diffusion]
LONG = ", ".join(f"thing {i} of wood and stone" for i in range(40))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [("a cat", 1)]),
        ("", []),
        ("a (red:1.3) cat", [("a ", 1), ("red", 1.3), (" cat", 1)]),
        ("a (red:1.0) cat", [("a red cat", 1)]),
        ("(red) cat", [("red", 1.1), (" cat", 1)]),
        ("((red)) cat", [("red", 1.21), (" cat", 1)]),
        ("([red]) cat", [("red cat", 1)]),
        ("a [red] cat", [("a ", 1), ("red", round(1 / 1.1, 6)), (" cat", 1)]),
        ("((a:1.5) b:2)", [("a", 3), (" b", 2)]),
        ("a \\(red:1.3\\) cat", [("a (red:1.3) cat", 1)]),
        ("a \\[cat\\]", [("a [cat]", 1)]),
        ("a cat: sitting", [("a cat: sitting", 1)]),
        ("(open", [("open", 1.1)]),
        ("close) it", [("close) it", 1)]),
        (":) smile", [(":) smile", 1)]),
        ("(a:.5)(b: 1.5 )", [("a", 0.5), ("b", 1.5)]),
        ("back\\slash", [("back\\slash", 1)]),
    ],
)
def test_pieces(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert pieces(prompt) == [Piece(text, weight) for text, weight in expected]


def words(engine: Diffusion, prompt: str, **options: Any) -> torch.Tensor:
    made = engine.encoder.arguments(request(prompt=prompt, **options), False, ())
    found: torch.Tensor = made["prompt_embeds"]
    return found


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
class TestWeights:
    def test_one_and_three_tenths_is_more_of_it(self, family: str, opened: Open) -> None:
        engine = opened(family)
        plain = words(engine, "a red cat")
        assert torch.equal(words(engine, "a (red:1.0) cat"), plain)
        more, most = words(engine, "a (red:1.3) cat"), words(engine, "a (red:1.6) cat")
        assert more.shape == plain.shape
        places = (more - plain).abs().sum(-1)[0] > 1e-6
        assert places.nonzero().flatten().tolist() == [
            2,
            3,
            4,
        ]  # "red"
        assert torch.dist(most, plain) > torch.dist(more, plain) > 0
        less = words(engine, "a [red] cat")
        assert torch.dist(less, plain) > 0 and torch.dist(less, more) > 0

    def test_in_the_picture(self, family: str, opened: Open) -> None:
        made = [
            pixels(opened(family).run([request(prompt=p)])[0])
            for p in ("a red cat", "a (red:1.0) cat", "a (red:1.5) cat")
        ]
        assert np.array_equal(made[0], made[1])
        assert not np.array_equal(made[0], made[2])

    def test_escaped_brackets_are_brackets(
        self, family: str, opened: Open, model: Any, plain: Any
    ) -> None:
        pipe = plain(model(family), f"{PIPELINES[family]}Pipeline")
        expected = by_hand(pipe, request(prompt="a (red) cat"), width=64, height=64)
        made = opened(family).run([request(prompt="a \\(red\\) cat")])
        assert np.array_equal(pixels(made[0]), expected)

    def test_long_prompts_go_in_chunks(self, family: str, opened: Open) -> None:
        engine = opened(family)
        short, long = words(engine, "a cat"), words(engine, LONG)
        assert short.shape[1] == 77 and long.shape[1] > 2 * 77 and long.shape[1] % 77 == 0
        other = words(engine, LONG.replace("thing 39", "beast 39"))
        assert not torch.equal(long, other)  # what comes last counts too
        made = engine.run([request(prompt=LONG, negative_prompt="blue"),
                           request(prompt="cat", negative_prompt=LONG)])  # fmt: skip
        assert all(isinstance(one, Picture) and not one.warnings for one in made)

    def test_long_and_short_ones_in_a_batch(self, family: str, opened: Open) -> None:
        engine = opened(family, exact=False)
        asked = [request(prompt=p) for p in ("cat", LONG, "dog")]
        for one, alone in zip(engine.run(asked), asked, strict=True):
            difference = pixels(one).astype(int) - pixels(engine.run([alone])[0])
            assert np.abs(difference).max() <= 1

    def test_clip_skip(self, family: str, opened: Open) -> None:
        engine = opened(family)
        made = [words(engine, "a cat", clip_skip=skip) for skip in (None, 0, 1)]
        assert torch.equal(made[0], made[1])
        assert not torch.equal(made[0], made[2])
        encoder, tokenizer = engine._parts["text_encoder"], engine._parts["tokenizer"]
        ids = tokenizer("a cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
        states = encoder(ids, output_hidden_states=True).hidden_states
        if family == "sdxl":
            expected = states[-3]
        else:
            norm = getattr(encoder, "text_model", encoder).final_layer_norm
            expected = norm(states[-2])
        assert torch.equal(made[2][..., : expected.shape[-1]], expected)

    def test_weights_and_skipped_layers_together(self, family: str, opened: Open) -> None:
        engine = opened(family)
        plain = words(engine, "a red cat", clip_skip=1)
        assert torch.equal(words(engine, "a (red:1.0) cat", clip_skip=1), plain)
        assert not torch.equal(words(engine, "a (red:1.3) cat", clip_skip=1), plain)


class TestOtherEncoders:
    @pytest.mark.parametrize(("family", "tokens"), [("sd3", 256), ("flux", 512)])
    def test_what_is_cut_is_quoted(self, family: str, tokens: int, opened: Open) -> None:
        engine = opened(family)
        # the tiny tokenizer takes a letter for a token
        prompt = "x" * (tokens - 2) + "beyond"
        made = engine.run([request(prompt=prompt), request(prompt="x" * (tokens - 9))])
        assert isinstance(made[0], Picture) and isinstance(made[1], Picture)
        assert made[1].warnings == ()
        (said,) = made[0].warnings
        assert f"{tokens} tokens" in said and said.endswith('cut: "beyond"')

    def test_weights_are_read_as_text(self, opened: Open) -> None:
        (made,) = opened("flux").run([request(prompt="a (red:1.3) cat (sat)")])
        assert isinstance(made, Picture)
        assert made.warnings == ("weights do nothing with this model: (red:1.3) is read as text",)

    def test_sd3_without_its_largest_encoder(
        self, opened: Open, model: Any, tmp_path: Path
    ) -> None:
        folder = tmp_path / "a"
        shutil.copytree(model("sd3"), folder)
        index = json.loads((folder / "model_index.json").read_bytes())
        index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
        (folder / "model_index.json").write_text(json.dumps(index))
        pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(
            model("sd3"), text_encoder_3=None, tokenizer_3=None, local_files_only=True
        )
        pipe.set_progress_bar_config(disable=True)
        expected = by_hand(pipe, request(), width=64, height=64)
        made = opened(folder).run([request(), request(prompt="x" * 80)])
        assert np.array_equal(pixels(made[0]), expected)
        assert isinstance(made[1], Picture)
        assert made[1].warnings == (
            'the prompt is longer than the model reads (77 tokens); cut: "xxxxx"',
        )

    def test_clip_skip_of_sd3(self, opened: Open) -> None:
        made = [pixels(opened("sd3").run([request(clip_skip=s)])[0]) for s in (None, 1)]
        assert not np.array_equal(*made)


def test_plain_prompts_do_without_compel() -> None:
    """Its import takes a second."""
    import subprocess
    import sys

    code = "import sys, mediakit.engines.diffusion.engine; print('compel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"


def test_the_probe_needs_no_model_library(model: Callable[..., Path]) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from mediakit.engines.diffusion.probe import probe;"
        "from mediakit.engines.diffusion.request import Files;"
        f"print(probe(Files(Path({str(model('sd2'))!r}))).family.name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"sd2 False\n"
