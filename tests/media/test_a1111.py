"""What pictures remember: A1111's text composed, parsed, and found in files by us and Pillow."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mediakit.engines.diffusion import schedulers
from mediakit.errors import ItemError
from mediakit.media import exif as exif_block
from mediakit.media.a1111 import (
    Network,
    Parameters,
    compose,
    networks,
    parse,
    to_fields,
    to_params,
)
from mediakit.media.containers import chunk
from mediakit.media.pictures import Encoding, Picture, read_picture, write_picture
from mediakit.media.remembered import read_notes
from mediakit.media.samplers import SCHEDULERS, names, scheduler

TEXT = (
    "a „große“ cat, (red:1.2) 猫\nNegative prompt: ugly\n"
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512"
)
NOTE = {"mediakit": '{"schema": "mediakit/1"}', "parameters": TEXT}
USER_COMMENT = 0x9286


def test_composed_as_a1111_writes_it() -> None:
    fields = to_fields(
        {"steps": 20, "scheduler": "dpm++2m-karras", "guidance_scale": 7, "seed": 1, "width": 512,
         "height": 768, "model": "sd15", "model_hash": "abc", "strength": 0.5, "clip_skip": 1,
         "eta": 0, "lora_hashes": {"a": "1", "b": "2"}},
        "1.2",
    )  # fmt: skip
    assert compose(Parameters("a cat\nin a hat", "ugly", fields)) == (
        "a cat\nin a hat\nNegative prompt: ugly\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, "
        "Size: 512x768, Model hash: abc, Model: sd15, Denoising strength: 0.5, Clip skip: 2, "
        'Lora hashes: "a: 1, b: 2", Version: mediakit 1.2'
    )


def test_params_of_a_text_from_the_wild() -> None:
    text = (
        "girl, <lora:Foo Bar:0.8>, ((x))<lora:b:0.5:0.7><hypernet:h:1>\r\nNegative prompt: bad\n"
        "Steps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 965400086, Size: 512x768, "
        "Model hash: 45dee52b, Model: v1-5, Denoising strength: 0.4, Clip skip: 2, "
        'Lora hashes: "Foo Bar: 1, b: 2", Hires upscale: 2, '
        'Civitai resources: [{"type":"lora","name":"a, b: c"}], Version: v1.9.0'
    )
    params, unknown = to_params(parse(text))
    assert params == {
        "prompt": "girl, , ((x))<hypernet:h:1>", "negative_prompt": "bad", "steps": 30,
        "scheduler": "dpm++2m-karras", "guidance_scale": 7.5, "seed": 965400086, "width": 512,
        "height": 768, "model": "v1-5", "strength": 0.4, "clip_skip": 1,
        "loras": ["Foo Bar:0.8", "b:0.7"],
    }  # fmt: skip
    assert unknown == ["Hires upscale"]
    assert parse(text).fields["Civitai resources"] == '[{"type":"lora","name":"a, b: c"}]'


@pytest.mark.parametrize("text", ["", "only a prompt", "a: b, c: d", "x\nNegative prompt: y", "\0"])
def test_texts_without_fields(text: str) -> None:
    assert not parse(text).fields


def test_nonsense_gives_no_params() -> None:
    text = "x\nSteps: many, Seed: -1, CFG scale: nan, Size: 1e9x2, Sampler: DPM adaptive, Eta: inf"
    params, unknown = to_params(parse(text))
    assert params == {"prompt": "x", "negative_prompt": ""}
    assert unknown == ["Steps", "Seed", "CFG scale", "Size", "Sampler", "Eta"]


def test_any_prompt_comes_back() -> None:
    rand = random.Random(4)
    parts = ["a", "b c", ", ", ": ", "\n", '"', "\\", "Negative prompt: ", "Negative prompt:", " ",
             "Steps: 20, Sampler: x, CFG scale: 7", "{}[]", "\t", "é", "\u2028", "\r"]  # fmt: skip
    for _ in range(3000):
        prompt, negative, extra = (
            "".join(rand.choices(parts, k=rand.randint(0, 6))) for _ in range(3)
        )
        fields = {"Steps": "2", "Sampler": "x", "Seed": "1", "Extra": extra}
        one = Parameters(prompt, negative, fields)
        assert parse(compose(one)) == one
    assert parse(compose(Parameters(" a ", "b"))).prompt == " a "


def test_hostile_texts_end() -> None:
    for text in ("a: " * 9000, 'a: "\\,' * 9000, "ab: {" * 9000, "[" * 90000, "<lora:" * 9000,
                 "ab: 1, ab: 2, ab: " + "[" * 90000, "Steps: 1\n" * 9000):  # fmt: skip
        to_params(parse(text))


@pytest.mark.parametrize("ours", SCHEDULERS)
def test_schedulers_there_and_back(ours: str) -> None:
    sampler, schedule = names(ours)
    assert scheduler(sampler, schedule) == ours
    if schedule == "Karras":
        assert scheduler(f"{sampler} Karras") == ours


def test_each_scheduler_of_the_engine_has_a_name() -> None:
    assert set(SCHEDULERS) == set(schedulers.SCHEDULERS)


def test_names_of_other_times_and_programs() -> None:
    assert scheduler("DPM++ 2M") == "dpm++2m"  # before there were schedule types
    assert scheduler("DPM++ 2M", "Automatic") == "dpm++2m-karras"
    assert scheduler("Euler a", "Automatic") == "euler-a"
    assert scheduler("dpmpp_2m", "karras") == "dpm++2m-karras"
    assert scheduler("dpmpp_2m_sde_gpu", "normal") == "dpm++2m-sde"
    assert scheduler("euler_ancestral") == "euler-a"
    assert scheduler("DPM++ 2M SDE", "Automatic") is None  # exponential, which we don't have
    assert scheduler("Euler", "Beta") is None
    assert scheduler("Restart") is None


def test_lora_tags() -> None:
    assert networks("a <lora:x> b<LoRA:y:-1.5>") == ("a  b", [Network("x"), Network("y", -1.5)])
    assert networks("<lora:x:te=0.2:unet=0.9>")[1] == [Network("x", 0.9)]
    assert networks(" a <b> <lora:> ") == (" a <b> <lora:> ", [])


def picture(**about: object) -> Picture:
    pixels = np.full((8, 8, 3), 128, np.uint8)
    return Picture(pixels, "png", **about)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "avif", "tiff"])
def test_found_in_what_we_write(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    assert write_picture(picture(), path, format, Encoding(note=NOTE, note_in_exif=True)) == []
    assert read_notes(path) == NOTE
    assert read_notes(path.read_bytes()) == NOTE
    with Image.open(path) as image:  # as others read it
        if format == "png":
            assert image.text["parameters"] == TEXT  # type: ignore[attr-defined]
        else:
            comment = image.getexif().get_ifd(0x8769)[USER_COMMENT]
            assert comment == b"UNICODE\0" + TEXT.encode("utf-16-be")


@pytest.mark.parametrize("format", ["jpg", "webp", "avif", "tiff"])
def test_without_being_asked_nothing_goes_into_exif(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    write_picture(picture(), path, format, Encoding(note=NOTE))
    assert read_notes(path) == {}


def photo_exif(order: str = "<") -> bytes:
    """Make (in the main directory), a maker note and an old comment."""
    tags = Image.Exif()
    tags.endian = order
    tags[271] = "Canon"
    tags.get_ifd(0x8769)[0x927C] = b"camera's own data"
    tags.get_ifd(0x8769)[USER_COMMENT] = b"ASCII\0\0\0old"
    return tags.tobytes().removeprefix(b"Exif\0\0")


def test_a_photos_exif_stays_where_it_is() -> None:
    for order in "<>":
        exif = photo_exif(order)
        assert exif_block.notes(exif) == {"parameters": "old"}
        noted = exif_block.noted(exif, NOTE, 65000)
        assert noted is not None
        assert noted[8 : len(exif)] == exif[8:]
        assert exif_block.notes(noted) == NOTE
        tags = Image.Exif()
        tags.load(noted)
        assert tags[271] == "Canon"
        assert tags.get_ifd(0x8769)[0x927C] == b"camera's own data"


def test_what_does_not_fit_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    long = {**NOTE, "parameters": "x" * 40_000}
    exif = photo_exif()
    lost = write_picture(picture(exif=exif), path, "jpg", Encoding(note=long, note_in_exif=True))
    assert lost == ["not all of how it was made fits beside the EXIF data"]
    assert read_notes(path) == {**NOTE, "parameters": "old"}
    with Image.open(path) as image:
        assert image.getexif()[271] == "Canon"


def test_the_record_does_not_travel_to_other_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_picture(picture(), path, "jpg", Encoding(note=NOTE, note_in_exif=True))
    again = read_picture(path.read_bytes(), "a.jpg", 10**6)
    assert again.exif is not None
    assert exif_block.notes(again.exif) == {"parameters": TEXT}


def saved(format: str, comment: bytes) -> bytes:
    tags = Image.Exif()
    tags.get_ifd(0x8769)[USER_COMMENT] = comment
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, format, exif=tags.tobytes())
    return out.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "PNG"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"UNICODE\0" + TEXT.encode("utf-16"),
        b"ASCII\0\0\0" + TEXT.encode(),
        bytes(8) + TEXT.encode(),
        TEXT.encode(),
    ],
)
def test_comments_of_others(format: str, comment: bytes) -> None:
    assert read_notes(saved(format, comment))["parameters"] == TEXT


@pytest.mark.parametrize("packed", [False, True])
def test_png_texts_of_others(packed: bool) -> None:
    for text in (TEXT, "café", "plain"):
        info = PngImagePlugin.PngInfo()
        info.add_text("workflow", "{}")
        info.add_text("parameters", text, zip=packed)
        out = io.BytesIO()
        Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
        assert read_notes(out.getvalue())["parameters"] == text


def test_png_texts_behind_the_pixels_and_in_utf8() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    end = out.getvalue()[:-12]
    late = end + chunk(b"tEXt", b"parameters\0" + TEXT.encode()) + out.getvalue()[-12:]
    assert read_notes(late)["parameters"] == TEXT
    bomb = zlib.compress(bytes(50 << 20))
    assert "parameters" not in read_notes(end + chunk(b"zTXt", b"parameters\0\0" + bomb))


def test_damaged_files_are_files_without_it(tmp_path: Path) -> None:
    rand = random.Random(1)
    good = [saved(f, b"UNICODE\0" + TEXT.encode("utf-16-be")) for f in ("JPEG", "WEBP", "AVIF")]
    path = tmp_path / "a"
    for format in ("png", "tiff"):
        write_picture(picture(), path, format, Encoding(note=NOTE, note_in_exif=True))
        good.append(path.read_bytes())
    good.append(b"\0\0\0\x0cJXL \r\n\x87\n" + struct.pack(">I4sI", 1000, b"Exif", 0) + good[-1])
    for data in good:
        for _ in range(150):
            odd = bytearray(data[: rand.randint(0, len(data))])
            for _ in range(rand.randint(0, 6)):
                if odd:
                    odd[rand.randrange(len(odd))] = rand.randrange(256)
            found = read_notes(bytes(odd))
            assert all(isinstance(text, str) for text in found.values())
    assert read_notes(b"") == {}
    with pytest.raises(ItemError) as e:
        read_notes(tmp_path / "none.png")
    assert e.value.code == "missing_file"
