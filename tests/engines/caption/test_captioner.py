"""Random captioners through the real loading code, beside what transformers makes of them."""

import contextlib
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny import FAMILIES, blip

from mediakit.engines.caption import transformers as engine
from mediakit.engines.caption.request import Caption, Request
from mediakit.errors import ItemError, UserError

Folders = Callable[[str], Path]


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random nets that say nothing of it would go on to the end."""
    monkeypatch.setattr(engine, "_UNTOLD", 12)


everyone = pytest.mark.parametrize("family", FAMILIES)


def captioner(folder: Path) -> Any:
    return engine.load(folder, "cpu", "float32", 1)


def texts(folder: Path, pictures: list[Any], request: Request, size: int = 8) -> list[str]:
    """The captions of pictures that go together in batches of a size."""
    model, see = captioner(folder), engine.eyes(folder)
    seen = [see(picture) for picture in pictures]
    found: list[str] = []
    for at in range(0, len(seen), size):
        for caption in model.captions(seen[at : at + size], request):
            assert isinstance(caption, Caption)
            found.append(caption.text)
    return found


def plainly(folder: Path, pictures: list[Any], text: str | None = None) -> list[str]:
    """What a loop over transformers' own processor and model says, one picture at a time."""
    config = json.loads((folder / "config.json").read_text())
    kind = getattr(transformers, config["architectures"][0])
    model = kind.from_pretrained(folder).eval()
    eyes = transformers.AutoImageProcessor.from_pretrained(folder)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    found = []
    for picture in pictures:
        given = dict(eyes(images=picture, return_tensors="pt"))
        if text and config["model_type"] == "florence2":
            whole = transformers.Florence2Processor.from_pretrained(folder)
            given = dict(whole(images=picture, text=text, return_tensors="pt"))
        elif text:
            given |= {"input_ids": words(text, return_tensors="pt").input_ids}
        if config["model_type"] in ("blip", "git"):  # which don't say how long
            given |= {"max_new_tokens": engine._UNTOLD}
        with torch.inference_mode():
            (tokens,) = model.generate(**given)
        said = words.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found.append(" ".join(said.split()))
    return found


@everyone
def test_text_is_that_of_a_plain_loop_in_batches_of_any_size(
    family: str, folders: Folders, pictures: list[Any], no_sockets: None
) -> None:
    folder = folders(family)
    text = "<CAPTION>" if family == "florence2" else None
    wanted = plainly(folder, pictures, text)
    assert len(set(wanted)) > 4  # they are told apart
    assert texts(folder, pictures, Request(), 8) == wanted
    assert texts(folder, pictures, Request(), 1) == wanted


@everyone
def test_pictures_are_seen_as_the_own_processor_sees_them(
    family: str, folders: Folders, pictures: list[Any]
) -> None:
    own = transformers.AutoImageProcessor.from_pretrained(folders(family))
    see = engine.eyes(folders(family))
    for picture in pictures:
        wanted = own(images=picture, return_tensors="np")["pixel_values"][0]
        read = picture.copy()
        read.flags.writeable = False  # as Pillow's are
        assert np.array_equal(see(read), wanted)


@everyone
def test_words_are_counted_exactly(family: str, folders: Folders, pictures: list[Any]) -> None:
    for said in texts(folders(family), pictures, Request(max_words=3)):
        assert len(said.split()) <= 3
    model, see = captioner(folders(family)), engine.eyes(folders(family))
    seen = [see(picture) for picture in pictures]
    counts = []
    for found in model.captions(seen, Request(min_words=6, max_words=7)):
        if isinstance(found, ItemError):
            assert found.code == "too_few_words"
        else:
            counts.append(len(found.text.split()))
    assert counts
    assert set(counts) <= {6, 7}


def test_as_many_words_with_beams(folders: Folders, pictures: list[Any]) -> None:
    model, see = captioner(folders("blip")), engine.eyes(folders("blip"))
    found = model.captions([see(p) for p in pictures], Request(beam_size=3, max_words=3))
    assert {len(one.text.split()) for one in found} <= {0, 1, 2, 3}
    found = model.captions([see(p) for p in pictures], Request(beam_size=3, min_words=2))
    counts = {len(one.text.split()) for one in found if isinstance(one, Caption)}
    assert min(counts) >= 2


def test_more_words_than_the_model_has_places_for(tmp_path: Path, pictures: list[Any]) -> None:
    folder = tmp_path / "short"
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
        blip(folder, max_position_embeddings=12)
    model, see = captioner(folder), engine.eyes(folder)
    seen = [see(picture) for picture in pictures]
    found = model.captions(seen, Request(min_words=30))
    assert {one.code for one in found if isinstance(one, ItemError)} == {"too_few_words"}
    assert texts(folder, pictures, Request(max_words=50))
    with pytest.raises(UserError, match="too long"):
        model.captions(seen, Request(prompt="a red dog " * 4))


def test_the_caption_goes_on_from_the_prompt(folders: Folders, pictures: list[Any]) -> None:
    asked = Request(prompt="a red")
    for family in ("blip", "git"):
        found = texts(folders(family), pictures, asked)
        assert all(said.startswith("a red") for said in found)
        assert found != texts(folders(family), pictures, Request())
        assert texts(folders(family), pictures, asked, 1) == found
    assert texts(folders("blip"), pictures, asked) == plainly(folders("blip"), pictures, "a red")


def test_what_is_drawn_depends_on_seed_and_picture_alone(
    folders: Folders, pictures: list[Any]
) -> None:
    def drawn(seed: int, size: int = 8) -> list[str]:
        return texts(
            folders("blip"), pictures, Request(temperature=1.5, top_p=0.95, seed=seed), size
        )

    first = drawn(1)
    assert drawn(1, 1) == first
    assert drawn(2) != first
    cold = texts(folders("blip"), pictures, Request(temperature=1e-4))
    assert cold == texts(folders("blip"), pictures, Request())


def test_draws_follow_the_probabilities() -> None:
    from mediakit.engines.caption.processors import Draw

    scores = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    ids = torch.zeros((1, 1), dtype=torch.long)
    counts = [0, 0, 0]
    for seed in range(2000):
        counts[int(Draw(seed)(ids, scores.clone()).argmax())] += 1
    assert 1330 < counts[0] < 1470
    assert 330 < counts[1] < 470


def test_stock_phrases_are_not_among_the_words(folders: Folders, pictures: list[Any]) -> None:
    whole = texts(folders("blip"), pictures, Request(prompt="a picture of"))
    bare = texts(
        folders("blip"), pictures, Request(prompt="a picture of", phrases=("a picture of",))
    )
    assert bare == [said.removeprefix("a picture of").strip() for said in whole]
    few = texts(
        folders("blip"),
        pictures,
        Request(prompt="a picture of", phrases=("a picture of",), min_words=2, max_words=2),
    )
    assert {len(said.split()) for said in few} == {2}


def test_florence_has_modes(folders: Folders, pictures: list[Any]) -> None:
    folder = folders("florence2")
    for mode, word in (("detailed", "<DETAILED_CAPTION>"), ("ocr", "<OCR>")):
        assert texts(folder, pictures, Request(mode=mode)) == plainly(folder, pictures, word)
    tokens = engine._florence_tokens(folder, "tags")
    own = transformers.Florence2Processor.from_pretrained(folder)
    wanted = own(images=pictures[0], text="<OD>", return_tensors="np")["input_ids"][0]
    assert list(tokens) == list(wanted)


def test_tags_are_what_stands_between_the_boxes(folders: Folders) -> None:
    model = captioner(folders("florence2"))
    said = (
        "</s><s>red car<loc_1><loc_2><loc_3><loc_4>dog <loc_5><loc_6><loc_7><loc_1>red car<loc_1>"
    )
    found = model._finished(said, Request(mode="tags"))
    assert found == Caption("red car, dog", ("red car", "dog"))


def as_pickle(folder: Path, into: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy whose weights are pytorch_model.bin."""
    from safetensors.torch import load_file

    shutil.copytree(folder, into)
    state = load_file(into / "model.safetensors")
    (into / "model.safetensors").unlink()
    torch.save(change(state), into / "pytorch_model.bin")
    return into


def test_pickled_weights_are_read_without_running_them(
    folders: Folders, pictures: list[Any], tmp_path: Path
) -> None:
    folder = as_pickle(folders("blip"), tmp_path / "blip", lambda state: state)
    wanted = texts(folders("blip"), pictures, Request())
    assert texts(folder, pictures, Request()) == wanted

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "was run",)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UserError, match="holds code") as raised:
        captioner(folder)
    assert raised.value.code == "unsafe_weights"
    assert not (tmp_path / "was run").exists()


def test_weights_that_are_missing(folders: Folders, tmp_path: Path) -> None:
    lost = "text_decoder.bert.encoder.layer.1.output.dense.weight"
    folder = as_pickle(
        folders("blip"), tmp_path / "b", lambda s: {k: v for k, v in s.items() if k != lost}
    )
    with pytest.raises(UserError, match="1 weights of Blip") as raised:
        captioner(folder)
    assert raised.value.code == "bad_weights"


def test_damaged_files(folders: Folders, tmp_path: Path) -> None:
    for name, code in (
        ("model.safetensors", "bad_weights"),
        ("config.json", "bad_weights"),
        ("tokenizer.json", "bad_weights"),
    ):
        folder = shutil.copytree(folders("blip"), tmp_path / name)
        (folder / name).write_bytes(b'{"model_type": "bl')
        with pytest.raises(UserError) as raised:
            captioner(folder)
        assert raised.value.code == code
        assert str(folder) in raised.value.message
    folder = shutil.copytree(folders("blip"), tmp_path / "eyes")
    (folder / "preprocessor_config.json").write_text("[]")
    with pytest.raises(UserError) as raised:
        engine.eyes(folder)
    assert raised.value.code == "bad_weights"


def test_code_in_a_folder_is_not_run(folders: Folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders("florence2"), tmp_path / "f")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('was run')\n")
    with pytest.raises(UserError) as raised:
        captioner(folder)
    assert raised.value.code == "unknown_model"
