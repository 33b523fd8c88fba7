"""Pictures in a prompt, through tiny nets of the real layouts."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import tiny, vocabulary
from numpy.typing import NDArray
from PIL import Image
from tiny_projectors import llava, smolvlm

from mediakit.engines.llama.context import Context, ContextFull
from mediakit.engines.llama.fit import Fit
from mediakit.engines.llama.loading import open_model
from mediakit.engines.llama.prompts import Prompts, positions
from mediakit.engines.llama.request import Message, Request
from mediakit.engines.llama.templates import ChatTemplate
from mediakit.engines.llama.trial import Trial
from mediakit.engines.llama.vision import Projector
from mediakit.engines.llama.vision_templates import template_for
from mediakit.errors import ItemError, UserError
from mediakit.models.gguf import header

WIDTH = 32  # of the tiny model
LAYOUTS = {"llava": llava, "smolvlm": smolvlm}
PREFIX, SUFFIX = "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\n", " what is it"


def picture(colour: str, size: tuple[int, int] = (40, 30), format: str = "PNG") -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", size, colour)
    image.paste("black", (0, 0, size[0] // 2, size[1] // 3))
    image.save(out, format)
    return out.getvalue()


RED, BLUE = picture("red"), picture("blue")


class Eye:
    """A model and its projector, and the tokens that SmolVLM has around the tiles of a picture."""

    def __init__(self, folder: Path, layout: str, length: int = 512) -> None:
        tokens, types = vocabulary()
        tokens += ["<fake_token_around_image>", "<global-img>", "\n\n"]
        tokens += [f"<row_{y}_col_{x}>" for y in (1, 2) for x in (1, 2)]
        types += [types[tokens.index("</s>")]] * (len(tokens) - len(types))
        file = tiny(folder / "model.gguf", **{
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": np.array(types, np.int32),
            "tokenizer.ggml.scores": np.zeros(len(tokens), np.float32),
        })  # fmt: skip
        self.context: Context = open_model(file, header(file), Fit("cpu", 1, 0, length)).context
        made = LAYOUTS[layout](folder / f"{layout}.gguf", WIDTH)
        header(made).check_projector(made)
        self.projector = Projector(made, self.context, threads=1, on_gpu=False)

    def prompt(self, *images: bytes, suffix: str = SUFFIX) -> list[Any]:
        parts = [part for image in images for part in self.projector.look(image)]
        before = self.context.tokenize(PREFIX, special=True)
        return [*before, *parts, *self.context.tokenize(suffix, special=True)]

    def logits(self, *images: bytes, suffix: str = SUFFIX) -> NDArray[np.float32]:
        self.context.evaluate(self.prompt(*images, suffix=suffix), lambda: None)
        return self.context.logits().copy()

    def close(self) -> None:
        self.projector.close()
        self.context.close()


@pytest.fixture(params=LAYOUTS)
def eye(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Eye]:
    made = Eye(tmp_path, request.param)
    yield made
    made.close()


def test_what_is_seen_makes_a_difference(eye: Eye) -> None:
    red, blue, none = eye.logits(RED), eye.logits(BLUE), eye.logits()
    assert np.abs(red - blue).max() > 0.05
    assert np.abs(red - none).max() > 0.05
    assert np.abs(eye.logits(RED, BLUE) - eye.logits(BLUE, RED)).max() > 0.05


def test_order_makes_none(eye: Eye) -> None:
    """Whatever was looked at before, kept or not."""
    fresh = {}
    for image in (RED, BLUE):
        eye.context.keep(0)
        fresh[image] = eye.logits(image)
    for image in (BLUE, RED, RED, BLUE):
        assert np.allclose(eye.logits(image), fresh[image], atol=1e-4)


def test_what_prompts_share_is_kept(eye: Eye) -> None:
    context = eye.context
    before = len(context.tokenize(PREFIX, special=True))
    eye.logits(RED)
    assert context.evaluate(eye.prompt(BLUE), lambda: None) >= before
    whole = len(eye.prompt(BLUE)) - len(context.tokenize(SUFFIX, special=True))
    # another question about the same picture
    assert context.evaluate(eye.prompt(BLUE, suffix="!why"), lambda: None) == whole
    kept = context.logits().copy()
    context.keep(0)
    assert np.allclose(eye.logits(BLUE, suffix="!why"), kept, atol=1e-4)


def test_the_same_pixels_are_the_same_picture(eye: Eye) -> None:
    keys = [
        [item if isinstance(item, int) else item.key for item in eye.projector.look(data)]
        for data in (RED, picture("red", format="BMP"), BLUE, picture("red", (30, 40)))
    ]
    assert keys[0] == keys[1]
    assert keys[0] != keys[2] != keys[3] != keys[0]


def test_in_a_conversation(eye: Eye) -> None:
    """Pictures of one message stand before its text, in their order."""

    def render(messages: Any, warn: Any) -> str:
        return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>" for m in messages)

    prompts = Prompts(eye.context, render, eye.projector.look)
    asked = Request((Message("user", "what?", (RED, BLUE)),), max_tokens=4)
    found = prompts.fit(asked, 400, lambda _: None)
    wanted = [
        *eye.context.tokenize("<|im_start|>user\n", special=True),
        *eye.projector.look(RED),
        *eye.projector.look(BLUE),
        *eye.context.tokenize("what?<|im_end|>", special=True),
    ]
    assert [getattr(each, "key", each) for each in found] == [
        getattr(each, "key", each) for each in wanted
    ]
    assert eye.context.evaluate(found, lambda: None) == 0
    assert eye.context.position == positions(found)


def test_tiles_and_tokens(tmp_path: Path) -> None:
    eye = Eye(tmp_path, "smolvlm")
    small = eye.projector.look(picture("red", (64, 64)))
    tiles = [item for item in small if not isinstance(item, int)]
    assert [tile.positions for tile in tiles] == [4, 4, 4, 4, 4]  # four, and the whole
    assert len({tile.key for tile in tiles}) == 5
    eye.close()
    eye = Eye(tmp_path, "llava")
    (whole,) = eye.projector.look(RED)
    assert not isinstance(whole, int)
    assert whole.positions == 16
    eye.close()


@pytest.mark.parametrize("size", [(1, 1), (700, 500), (3, 2), (64, 640)])
def test_sizes(eye: Eye, size: tuple[int, int]) -> None:
    assert np.isfinite(eye.logits(picture("red", size))).all()


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (2, 2000)])
def test_too_narrow(tmp_path: Path, size: tuple[int, int]) -> None:
    eye = Eye(tmp_path, "smolvlm")
    with pytest.raises(ItemError, match=f"{size[0]} x {size[1]} pixels") as caught:
        eye.projector.look(picture("red", size))
    assert caught.value.code == "too_narrow"
    assert eye.projector.look(RED)
    eye.close()


def test_kinds_of_pixels(eye: Eye) -> None:
    seen = {}
    for mode in ("RGB", "RGBA", "L", "P", "I;16", "1", "CMYK"):
        out = io.BytesIO()
        image = Image.new("RGB", (40, 30), (128, 128, 128))
        (image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)).save(
            out, "TIFF" if mode == "CMYK" else "PNG"
        )
        seen[mode] = [getattr(each, "key", each) for each in eye.projector.look(out.getvalue())]
    assert seen["RGB"] == seen["RGBA"] == seen["L"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"not a picture", "unsupported_format"),
        (RED[:60], "corrupt"),
        (b"file:///etc/passwd", "unsupported_format"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "unsupported_format"),
    ],
)
def test_what_is_no_picture(eye: Eye, data: bytes, code: str) -> None:
    with pytest.raises(ItemError) as caught:
        eye.projector.look(data)
    assert caught.value.code == code


def test_a_context_that_is_too_small(tmp_path: Path) -> None:
    eye = Eye(tmp_path, "llava", length=64)
    with pytest.raises(ContextFull):
        eye.logits(*[RED] * 20)
    short = eye.context.tokenize("a", special=False)
    eye.context.evaluate([*eye.projector.look(RED), *short], lambda: None)
    assert eye.context.position == 17
    eye.close()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_projector_of_another_model(tmp_path: Path, layout: str) -> None:
    file = tiny(tmp_path / "model.gguf")
    context = open_model(file, header(file), Fit("cpu", 1, 0, 64)).context
    other = LAYOUTS[layout](tmp_path / "other.gguf", WIDTH + 16)
    with pytest.raises(UserError, match=r"n_embd = 32\) and mmproj \(n_embd = 48") as caught:
        Projector(other, context, 1, False)
    assert caught.value.code == "wrong_model"
    context.close()


def test_a_model_without_the_tokens(tmp_path: Path) -> None:
    file = tiny(tmp_path / "model.gguf")
    context = open_model(file, header(file), Fit("cpu", 1, 0, 64)).context
    projector = Projector(smolvlm(tmp_path / "p.gguf", WIDTH), context, 1, False)
    with pytest.raises(UserError, match="lacks the tokens") as caught:
        projector.look(RED)
    assert caught.value.code == "wrong_model"
    projector.close()
    context.close()


def test_models_older_than_chat_templates() -> None:
    seen, asked = "\ue0000\ue001", "what?"
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": seen + asked},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "sure?"},
    ]
    texts = {}
    for architecture, name in [("llama", "LLaVA v1.5"), ("llama", "llava-v1.6-mistral-7b"),
                               ("phi2", "moondream2")]:  # fmt: skip
        template = ChatTemplate(template_for(architecture, name), "<s>", "</s>")
        texts[name] = template.render(messages)
        template.close()
    assert texts == {
        "LLaVA v1.5": f"Be brief. USER: {seen}\nwhat? ASSISTANT: A cat.</s> USER: sure? ASSISTANT:",
        # these two know no system prompt
        "llava-v1.6-mistral-7b": "[INST] Be brief.\n\n" + seen + "\nwhat? [/INST] A cat.</s>[INST] "
        "sure? [/INST]",
        "moondream2": "Be brief.\n\n" + seen + "\n\nQuestion: what?\n\nAnswer: A cat.\n\n"
        "Question: sure?\n\nAnswer:",
    }
    assert template_for("qwen2vl", "Qwen2-VL") == ""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_trial_of_a_good_projector(tmp_path: Path, layout: str) -> None:
    model = tiny(tmp_path / "model.gguf")
    Trial(model, LAYOUTS[layout](tmp_path / "p.gguf", WIDTH)).check()
    # for what is wrong without being the end, the loading has better words
    Trial(model, LAYOUTS[layout](tmp_path / "p.gguf", WIDTH + 1)).check()


def test_trial_of_a_projector_that_ends_the_process(tmp_path: Path) -> None:
    model = tiny(tmp_path / "model.gguf")
    cut = llava(tmp_path / "p.gguf", WIDTH, **{"clip.vision.image_size": 7})
    header(cut).check_projector(cut)
    with pytest.raises(UserError, match=r"p\.gguf: a damaged projector.*SIGABRT") as caught:
        Trial(model, cut).check()
    assert caught.value.code == "bad_weights"
