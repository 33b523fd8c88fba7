"""Prompts from text files, from sidecars, and the names of their pictures."""

import random
import unicodedata
from pathlib import Path

import pytest

from mediakit.errors import ItemError
from mediakit.prompts.listing import Listed, listed
from mediakit.prompts.names import slug
from mediakit.prompts.sidecars import sidecar, sidecar_prompt


def test_a_list() -> None:
    data = (
        b"\xef\xbb\xbf# comment\r\n a cat, #1 \r\n\r\n  # more\n\\#hash\n"
        b"d\xc3\xa9j\xc3\xa0 vu\nlast"
    )
    assert list(listed(data.split(b"\n"), "p.txt")) == [
        Listed("a cat, #1", "p.txt:2"),
        Listed("#hash", "p.txt:5"),
        Listed("déjà vu", "p.txt:6"),
        Listed("last", "p.txt:7"),
    ]
    assert list(listed([b"\xef\xbb\xbf"], "p.txt")) == []


def test_lines_that_can_not_be_read_are_failed_items() -> None:
    found = list(listed([b"a", b"caf\xe9", b"b\0c", b"x" * (1 << 21), b"d"], "standard input"))
    assert [one.text for one in found] == ["a", "", "", "", "d"]
    messages = [one.error.message for one in found if one.error]
    assert messages == [
        "standard input:2: byte 4 is not UTF-8; save the list as that",
        "standard input:3: a NUL byte; is this a list of prompts?",
        "standard input:4: more than 1 MiB in a line; is this a list of prompts?",
    ]
    assert {one.error.code for one in found if one.error} == {"bad_row"}


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a large red star", "a-large-red-star"),
        ("A Cat, (fluffy:1.3), [x:0.5] <lora:y:0.8>", "a-cat-fluffy-x"),
        ("don't \\{stop\\}", "dont-stop"),
        ("../../etc/passwd", "etc-passwd"),
        ("-rf --out", "rf-out"),
        ("日本の猫", "日本の猫"),
        ("e\u0301te\u0301", "été"),
        ("🙂", "picture"),
        ("", "picture"),
        ("word " * 30, "word-word-word-word-word-word-word-word-word"),
        ("x" * 99, "x" * 48),
    ],
)
def test_slugs(prompt: str, name: str) -> None:
    assert slug(prompt) == name


def test_names_are_safe_everywhere() -> None:
    rand = random.Random(5)
    marks = "\u0301\u093f\u200d"
    for _ in range(3000):
        letters = 'aZ é/\\:*?"<>|.\0\n-_ 猫🙂' + marks + chr(rand.randrange(0x20, 0xD800))
        name = slug("".join(rand.choices(letters, k=rand.randint(0, 120))))
        assert 0 < len(name.encode()) <= 120
        assert name[0] != "-" != name[-1]
        assert not set(name) & set('/\\:*?"<>|.\0\n ')
        assert unicodedata.is_normalized("NFC", name)


def test_sidecars(tmp_path: Path) -> None:
    picture = str(tmp_path / "a.jpg")
    with pytest.raises(ItemError, match=r"a\.txt, the prompt for .*a\.jpg, does not exist") as e:
        sidecar_prompt(picture)
    assert e.value.code == "missing_file"
    (tmp_path / "a.jpg.txt").write_text("full")
    assert sidecar_prompt(picture) == "full"
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf a cat,\r\nin a hat \n")
    assert sidecar(picture) == tmp_path / "a.txt"
    assert sidecar_prompt(picture) == "a cat,\nin a hat"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b" \n", "empty_file"), (b"\xff\xfea\0", "bad_prompt"), (b"a\0b", "bad_prompt"),
     (b"x" * (2 << 20), "bad_prompt")],
)  # fmt: skip
def test_sidecars_that_are_no_prompt(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(ItemError) as e:
        sidecar_prompt(str(tmp_path / "a.png"))
    assert e.value.code == code
