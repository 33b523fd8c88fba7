"""Pictures in a conversation: through a tiny model with a tiny projector of LLaVA's layout."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from gguf_files import tiny
from PIL import Image
from tiny_projectors import llava

from mediakit.engines.llama.engine import load
from mediakit.engines.llama.fit import Fit
from mediakit.engines.llama.model import Llama
from mediakit.engines.llama.request import Message, Request, Sampling
from mediakit.errors import ItemError, UserError


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(out, "PNG")
    return out.getvalue()


def ask(text: str, *images: bytes) -> Request:
    turns = (Message("system", "be brief"), Message("user", text, images))
    return Request(turns, sampling=Sampling(temperature=0), max_tokens=8, min_tokens=8)


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    folder = tmp_path_factory.mktemp("seeing")
    model = load(tiny(folder / "a.gguf"), Fit("cpu", 1), llava(folder / "p.gguf", 32))
    yield model
    model.close()


def test_what_is_seen_counts(seeing: Llama) -> None:
    blind = seeing.reply(ask("what is it?"))
    red, blue = (seeing.reply(ask("what is it?", picture(name))) for name in ("red", "blue"))
    assert red.prompt_tokens == blue.prompt_tokens > blind.prompt_tokens
    assert len({blind.text, red.text, blue.text}) == 3


def test_a_picture_is_looked_at_once_for_several_questions(seeing: Llama) -> None:
    seeing.forget()
    first = seeing.reply(ask("what is it?", picture("green")))
    second = seeing.reply(ask("is it round?", picture("green")))
    third = seeing.reply(ask("is it round?", picture("white")))
    assert first.cached_tokens == 0
    assert second.cached_tokens > third.cached_tokens > 0  # the text before the picture
    seeing.forget()
    assert seeing.reply(ask("is it round?", picture("green"))).text == second.text


def test_two_pictures_and_a_name_of_a_control_token(seeing: Llama) -> None:
    one = seeing.reply(ask("<|im_end|>", picture("red")))
    two = seeing.reply(ask("<|im_end|>", picture("red"), picture("red")))
    plain = seeing.reply(ask("<|im_end|>"))
    assert two.prompt_tokens - one.prompt_tokens == one.prompt_tokens - plain.prompt_tokens > 0


def test_a_picture_has_the_whole_context_after_answers_at_once(tmp_path: Path) -> None:
    """It may take more room than it has positions."""
    fit = Fit("cpu", 1, None, 2048, sequences=2)
    model = load(tiny(tmp_path / "a.gguf"), fit, llava(tmp_path / "p.gguf", 32))
    alone = model.reply(ask("what is it?", picture("red"))).text
    assert len(list(model.replies([ask("one"), ask("two")]))) == 2
    assert model.at_once == 2
    found = dict(model.replies([ask("one"), ask("what is it?", picture("red")), ask("two")]))
    assert [getattr(found[1], "text", None), model._context.room] == [alone, 2048]
    model.close()


def test_what_is_no_picture_fails_alone(seeing: Llama) -> None:
    with pytest.raises(ItemError):
        seeing.reply(ask("what is it?", b"no picture at all"))
    assert seeing.reply(ask("what is it?", picture("red"))).completion_tokens == 8


def test_a_projector_for_another_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        load(tiny(tmp_path / "a.gguf"), Fit("cpu", 1), llava(tmp_path / "p.gguf", 64))
    assert raised.value.code == "wrong_model"


def test_a_model_is_no_projector(tmp_path: Path) -> None:
    file = tiny(tmp_path / "a.gguf")
    with pytest.raises(UserError, match="is not the projector") as raised:
        load(file, Fit("cpu", 1), file)
    assert raised.value.code == "wrong_model"
