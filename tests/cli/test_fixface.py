"""`mediakit fixface` end to end: a real detector on a real face, tiny nets as restorers."""

import importlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
from PIL import Image, ImageCms  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact  # noqa: E402

DATA = Path(__file__).parent.parent / "data" / "faces"
BOX = (57, 33, 98, 88)  # of the face in photo.png, to within a few pixels
Fix = Callable[..., Any]


def net(path: Path, shift: float = 0.0, scale: int = 4) -> Path:
    """An upscaler that adds to the colours of the picture, made larger."""
    torch.manual_seed(0)
    made = SRVGGNetCompact(num_feat=8, num_conv=1, upscale=scale)
    with torch.no_grad():
        made.body[-1].weight.zero_()
        made.body[-1].bias.fill_(shift)
    save_file(made.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def darker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Restored faces are 51 levels of 255 darker."""
    return net(tmp_path_factory.mktemp("net") / "darker.safetensors", -0.2)


@pytest.fixture
def fix(mediakit: Any, darker: Path) -> Fix:
    def run(*args: Any, **more: Any) -> Any:
        given = {str(a) for a in args}
        detector = () if {"--detector", "--aligned"} & given else ("--detector", "centerface")
        model = () if "--model" in given else ("--model", darker)
        return mediakit("fixface", *args, *detector, *model, "--threads", "1", **more)

    return run


@pytest.fixture
def nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a detector that finds a face at each place, as told; see onnx_file.py."""
    monkeypatch.syspath_prepend(str(DATA.parent.parent / "engines" / "faces"))
    file = importlib.import_module("onnx_file")
    return lambda name, **told: file.centerface(tmp_path / name, **told)


@pytest.fixture
def photo(home: Path) -> Path:
    """160 x 160, one face."""
    shutil.copy(DATA / "photo.png", "photo.png")
    return Path("photo.png")


def pixels(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def changed(before: np.ndarray, after: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom around all pixels that differ."""
    ys, xs = np.nonzero((before != after).reshape(*before.shape[:2], -1).any(axis=2))
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def test_a_face_is_restored_and_nothing_else_changes(
    fix: Fix, photo: Path, check_record: Any
) -> None:
    (record,) = fix(photo, "-o", "out", "--max-face", "100", "--json").records
    check_record(record)
    (face,) = record["result"]["faces"]
    assert face["box"] == pytest.approx(BOX, abs=8)
    assert face["restored"] and face["left"] is None and face["score"] > 0.8
    eye, other, nose, mouth, _ = face["landmarks"]
    assert eye[0] < nose[0] < other[0] and eye[1] < nose[1] < mouth[1]
    assert {m["role"]: m["name"] for m in record["models"]}["detector"] == "centerface"
    before, after = pixels(photo), pixels("out/photo.png")
    darker = before - after
    x, y = (round(v) for v in nose)
    assert darker[y - 5 : y + 6, x - 5 : x + 6].mean() == pytest.approx(51, abs=4)
    left, top, right, bottom = changed(before, after)
    assert left > BOX[0] - 20 and right < BOX[2] + 20 and top > BOX[1] - 30
    assert bottom < BOX[3] + 20
    rim = darker[top:bottom, left:right].copy()
    rim[3:-3, 3:-3] = 0
    assert 0 < abs(rim).max() < 18  # no edge where it ends


def test_what_the_face_is_blended_with(fix: Fix, photo: Path) -> None:
    for strength in ("0.5", "0"):
        fix(photo, "-o", strength, "--max-face", "100", "--strength", strength)
    before = pixels(photo)
    half = (before - pixels("0.5/photo.png"))[60:66, 75:81].mean()
    assert half == pytest.approx(25.5, abs=3)
    assert np.array_equal(pixels("0/photo.png"), before)
    fix(photo, "-o", "square", "--max-face", "100", "--mask", "square")
    left, top, right, bottom = changed(before, pixels("square/photo.png"))
    assert (right - left) * (bottom - top) > 70 * 70  # hair and neck too


def test_a_picture_without_a_face_goes_through_as_it_is(fix: Fix, home: Path) -> None:
    ramp = np.linspace(0, 255, 96 * 96).reshape(96, 96).astype(np.uint8)
    Image.fromarray(ramp).save("plain.jpg", quality=70)
    (record,) = fix("plain.jpg", "-o", "out", "--json").records
    assert (record["status"], record["result"]["faces"]) == ("done", [])
    assert Path("out/plain.jpg").read_bytes() == Path("plain.jpg").read_bytes()
    (other,) = fix("plain.jpg", "-o", "png", "--format", "png", "--json").records
    with Image.open(other["outputs"][0]) as image, Image.open("plain.jpg") as source:
        assert image.format == "PNG" and np.array_equal(image, source)
    fix("plain.jpg", "-o", "small", "--quality", "20")
    assert Path("small/plain.jpg").stat().st_size < Path("plain.jpg").stat().st_size
    failed = fix("plain.jpg", "-o", "strict", "--require-face", "--json", status=1)
    assert failed.records[0]["error"]["code"] == "no_face"
    assert not Path("strict/plain.jpg").exists()


def test_faces_that_are_left_say_why(fix: Fix, home: Path) -> None:
    large = Image.open(DATA / "photo.png").crop((30, 10, 130, 110))
    both = Image.new("RGB", (320, 200), (120, 110, 100))
    both.paste(large.resize((200, 200), Image.Resampling.BICUBIC), (0, 0))
    both.paste(large, (210, 50))
    both.save("two.png")

    def left(*args: str) -> list[str | None]:
        (record,) = fix("two.png", "-o", "out", "--json", "--force", *args).records
        faces = record["result"]["faces"]
        assert [f["box"][2] - f["box"][0] > 60 for f in faces] == [True, False]  # largest first
        return [f["left"] for f in faces]

    assert left("--max-face", "200") == [None, None]
    assert left("--faces", "largest", "--max-face", "200") == [None, "not_among_largest"]
    assert left("--faces", "1", "--max-face", "200") == [None, "not_among_largest"]
    assert left("--max-face", "60") == ["too_large", None]
    before, after = pixels("two.png"), pixels("out/two.png")
    assert changed(before, after)[0] > 205  # the large one is as it was
    (record,) = fix("two.png", "-o", "big", "--json", "--min-face", "60").records
    assert len(record["result"]["faces"]) == 1  # the small one is not looked for


def test_a_sharp_face_is_left_and_said(fix: Fix, home: Path) -> None:
    """More detail than a square of 128 pixels holds; none such in one that was enlarged."""
    photo = Image.open(DATA / "photo.png")
    photo.crop((40, 20, 120, 100)).resize((480, 480), Image.Resampling.BICUBIC).save("soft.png")
    grain = np.random.default_rng(0).normal(0, 12, (480, 480, 1))
    soft = pixels("soft.png")
    Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8)).save("sharp.png")
    result = fix("sharp.png", "soft.png", "-o", "out", "--json")
    sharp, enlarged = result.records
    assert [f["left"] for f in sharp["result"]["faces"]] == ["sharp"]
    assert "sharper than" in sharp["warnings"][0] and "--max-face" in sharp["warnings"][0]
    assert Path("out/sharp.png").read_bytes() == Path("sharp.png").read_bytes()
    assert [f["left"] for f in enlarged["result"]["faces"]] == [None]


def test_kinds_of_pixels_are_kept(fix: Fix, photo: Path) -> None:
    """16 bits, alpha, grey, profile, and which way is up."""
    from mediakit.media.pictures import Picture, read_picture, write_picture

    rgb = np.asarray(Image.open(photo))
    alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    alpha[:, :40] = 90
    deep = rgb.astype(np.uint16) * 257 + np.arange(160, dtype=np.uint16)[:, None, None]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_picture(Picture(deep, "png", icc=profile), Path("deep.png"), "png")
    Image.fromarray(np.concatenate([rgb, alpha], 2)).save("alpha.png")
    Image.fromarray(rgb).convert("L").save("grey.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(np.rot90(rgb).copy()).save("lying.jpg", exif=exif, quality=95)
    names = ["deep.png", "alpha.png", "grey.png", "lying.jpg"]
    records = fix(*names, "-o", "out", "--max-face", "100", "--json").records
    assert [len(r["result"]["faces"]) for r in records] == [1, 1, 1, 1]
    made = read_picture(Path("out/deep.png").read_bytes(), "deep", 10**6)
    assert made.pixels.dtype == np.uint16 and made.icc == profile
    assert np.array_equal(made.pixels[:10], deep[:10])
    face = np.s_[60:66, 75:81]
    assert deep[face].mean() - made.pixels[face].mean() == pytest.approx(13107, rel=0.1)
    after = pixels("out/alpha.png")
    assert np.array_equal(after[..., 3:], alpha)
    assert (rgb[face] - after[face][..., :3]).mean() == pytest.approx(51, abs=4)
    assert pixels("out/grey.png").shape == (160, 160)
    with Image.open("out/lying.jpg") as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert (rgb[face] - np.asarray(image).astype(int)[face]).mean() == pytest.approx(51, abs=8)


def test_a_larger_picture(fix: Fix, mediakit: Any, photo: Path, tmp_path: Path) -> None:
    """The rest is what the upscaler makes; the same as upscaling with the faces in one go."""
    plain = net(tmp_path / "plain.safetensors", 0, 2)
    larger = ("--scale", "2", "--upscaler", plain)
    (record,) = fix(photo, "-o", "out", *larger, "--max-face", "100", "--json").records
    assert record["result"]["width"] == 320
    assert [m["role"] for m in record["models"]] == ["restorer", "detector", "upscaler"]
    models = ("--model", plain, "--threads", "1")
    mediakit("upscale", photo, "-o", "only", *models)
    before, after = pixels("only/photo.png"), pixels("out/photo.png")
    left, _, _, bottom = changed(before, after)
    assert left > 2 * (BOX[0] - 20) and bottom < 2 * (BOX[3] + 20)
    assert (before - after)[120:132, 150:162].mean() == pytest.approx(51, abs=4)
    soft = Image.open(photo).resize((96, 96)).resize((160, 160))
    soft.save("soft.png")  # nothing that would be taken from it
    faces = ("--face-model", str(tmp_path / "plain.safetensors"), "--detector", "centerface")
    (both,) = mediakit("upscale", "soft.png", "-o", "both", *models, "--fix-faces", *faces,
                       "--json").records  # fmt: skip
    assert [f["restored"] for f in both["result"]["faces"]] == [True]
    fix("soft.png", "-o", "alone", *larger, "--model", tmp_path / "plain.safetensors")
    assert np.array_equal(pixels("both/soft.png"), pixels("alone/soft.png"))


def test_files_beside_the_picture(fix: Fix, photo: Path) -> None:
    args = ("--max-face", "100", "--save-crops", "--compare", "--json")
    (record,) = fix(photo, "-o", "out", *args).records
    roles = {a["role"]: a["path"] for a in record["artifacts"]}
    assert roles == {
        "image": "out/photo.png", "compare": "out/photo_compare.png",
        "crop": "out/photo_faces/1.png",
    }  # fmt: skip
    crop, sides = pixels(roles["crop"]), pixels(roles["compare"])
    assert crop.shape == (512, 512, 3)
    assert np.array_equal(sides[:, :160], pixels(photo))
    assert np.array_equal(sides[:, 160:], pixels("out/photo.png"))
    again = fix(photo, "-o", "out", *args).records
    assert again[0]["status"] == "skipped"
    assert fix(photo, "-o", "-", "--save-crops", status=2).errors == ["useless_option"]


def test_an_aligned_face(fix: Fix, photo: Path) -> None:
    fix(photo, "-o", "out", "--max-face", "100", "--save-crops")
    soft = Image.open("out/photo_faces/1.png").resize((128, 128))
    soft.save("crop.png")
    (record,) = fix("crop.png", "-o", "again", "--aligned", "--json").records
    assert [m["role"] for m in record["models"]] == ["restorer"]
    made = pixels("again/crop.png")
    assert made.shape == (512, 512, 3)
    shown = pixels("crop.png").repeat(4, axis=0).repeat(4, axis=1)
    middle = np.s_[200:300, 200:300]
    assert (shown[middle] - made[middle]).mean() == pytest.approx(51, abs=4)
    Image.new("RGB", (64, 48)).save("wide.png")
    failed = fix("wide.png", "-o", "again", "--aligned", "--json", status=1).records
    assert failed[0]["error"]["code"] == "not_aligned"
    for name in ("--detector", "--faces"):
        errors = fix("crop.png", "-o", "x", "--aligned", name, "1", status=2).errors
        assert errors == ["useless_option"]


def test_models_of_another_kind_are_named(fix: Fix, photo: Path, tmp_path: Path) -> None:
    assert fix(photo, "-o", "out", "--model", "yunet", status=2).errors == ["wrong_model"]
    assert fix(photo, "-o", "out", "--model", "whisper-tiny.en", status=2).errors == ["wrong_model"]
    detector = ("--detector", "realesr-animevideov3")
    assert fix(photo, "-o", "out", *detector, status=2).errors == ["wrong_model"]
    (tmp_path / "no.onnx").write_bytes(b"\x08\x07nothing")
    result = fix(photo, "-o", "out", "--detector", tmp_path / "no.onnx", status=2)
    assert result.errors == ["bad_weights"]
    wrong = fix(photo, "-o", "out", "--faces", "two", status=2)
    assert "give all, largest or a whole number" in wrong.stderr
    sizes = fix(photo, "-o", "out", "--min-face", "90", "--max-face", "40", status=2)
    assert "--min-face 90 is above --max-face 40" in sizes.stderr
    assert fix(photo, "-o", "out", "--weight", "0.5", status=2).errors == ["useless_option"]
    gfpgan = fix(photo, "-o", "out", "--model", "gfpgan-1.4", "--weight", "1", status=2)
    assert gfpgan.errors == ["useless_option"]
    assert not Path("out/photo.png").exists()


@pytest.mark.parametrize("shift", [float("nan"), -9.0])
def test_a_net_that_makes_no_face(shift: float, fix: Fix, photo: Path, tmp_path: Path) -> None:
    """No numbers, or black: said, and never pasted; the rest goes on."""
    Image.new("RGB", (64, 64), (9, 90, 200)).save("plain.png")
    bad = net(tmp_path / "bad.safetensors", shift)
    args = ("-o", "out", "--model", bad, "--max-face", "100", "--json")
    failed, done = fix(photo, "plain.png", *args, status=1).records
    assert failed["error"]["code"] == "bad_picture"
    assert "none of 1 face could be restored" in failed["error"]["message"]
    assert done["status"] == "done"
    assert not Path("out/photo.png").exists()


def test_bytes_in_bytes_out(fix: Fix, photo: Path) -> None:
    fix(photo, "-o", "out", "--max-face", "100")
    made = fix("-", "-o", "-", "--max-face", "100", stdin=photo.read_bytes()).stdout
    with Image.open(io.BytesIO(made)) as image:
        assert np.array_equal(np.asarray(image), pixels("out/photo.png"))


def test_many_faces(fix: Fix, home: Path) -> None:
    """40 of 27 to 41 pixels, some turned."""
    head = Image.open(DATA / "photo.png").crop((35, 10, 125, 100))
    many = Image.new("RGB", (800, 500), (90, 100, 110))
    for number in range(40):
        side = (60, 75, 90)[number % 3]
        turned = head.resize((side, side), Image.Resampling.LANCZOS)
        turned = turned.rotate((0, 90, -90, 20)[number % 4])
        many.paste(turned, (number % 8 * 100, number // 8 * 100))
    many.save("many.png")
    (record,) = fix("many.png", "-o", "out", "--max-face", "200", "--json").records
    faces = record["result"]["faces"]
    assert len(faces) == 40 and all(face["restored"] for face in faces)
    tiles = {(int(f["landmarks"][2][0] // 100), int(f["landmarks"][2][1] // 100)) for f in faces}
    assert tiles == {(x, y) for x in range(8) for y in range(5)}
    between = np.s_[92:100]  # below the heads of the first row
    assert np.array_equal(pixels("out/many.png")[between], pixels("many.png")[between])


def test_the_same_in_any_order_and_alone(fix: Fix, photo: Path) -> None:
    image = Image.open(photo)
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("other.png")
    args = ("--max-face", "200", "--exact")
    fix(photo, "other.png", "-o", "a", *args)
    fix("other.png", photo, "-o", "b", *args)
    fix("other.png", "-o", "c", *args)
    made = {Path(folder, "other.png").read_bytes() for folder in "abc"}
    assert len(made) == 1
    assert Path("a/photo.png").read_bytes() == Path("b/photo.png").read_bytes()


def test_a_detector_that_gives_nonsense(fix: Fix, photo: Path, nonsense: Any) -> None:
    """Places that can't be faces are left out and said; no sensible scores fail the picture."""
    silly = nonsense("points.onnx", points=[9.0] * 10)
    (record,) = fix(photo, "-o", "out", "--detector", silly, "--json").records
    assert (record["status"], record["result"]["faces"]) == ("done", [])
    assert "eyes, nose and mouth elsewhere" in record["warnings"][0]
    assert Path("out/photo.png").read_bytes() == photo.read_bytes()
    for score in (float("nan"), 7.0):
        broken = nonsense("score.onnx", score=score)
        failed = fix(photo, "-o", "bad", "--detector", broken, "--json", status=1).records
        assert failed[0]["error"]["code"] == "bad_faces"
    assert not Path("bad/photo.png").exists()
    huge = nonsense("huge.onnx", size=50.0)
    (record,) = fix(photo, "-o", "out2", "--detector", huge, "--json").records
    assert record["result"]["faces"] == []
