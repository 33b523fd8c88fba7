"""Alternatives and wildcards: what they mean, counted and made, and as dynamicprompts has it."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from mediakit.errors import ItemError, UserError
from mediakit.prompts.alternatives import Alternatives, check_combinations
from mediakit.prompts.syntax import has_alternatives, literal

PLAIN = [
    "",
    "a cat",
    "(word:1.3), ((x)), [a|b], [a:b:0.5], \\(fate\\) | 50% $5 $$ #1 // /* */ :: <lora:x:0.8>",
    "\\{x\\} a\\|b",
    "foo__bar and __ x __ and \\__colour__",
    "日本語\nline two\ttab",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "colour.txt").write_bytes(b"\xef\xbb\xbf# comment\r\nred\r\n\r\nblue\nred\n")
    (tmp_path / "odd.txt").write_text("50% {dark|light} grey\nhttp://x #1\n__colour__ hat\n")
    (tmp_path / "animals").mkdir()
    (tmp_path / "animals" / "small.txt").write_text("mouse\n")
    (tmp_path / "animals" / "large.txt").write_text("horse\n")
    (tmp_path / "loop.txt").write_text("a __pool__\n")
    (tmp_path / "pool.txt").write_text("__loop__\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "sizes.yaml").write_text("size:\n  - 3::big\n  - small\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.json").write_text('{"mood": {"good": ["happy", "glad"]}}')
    return tmp_path


@pytest.mark.parametrize("prompt", PLAIN)
def test_plain_text_is_left_alone(prompt: str) -> None:
    assert not has_alternatives(prompt)
    alternatives = Alternatives()
    assert alternatives.every(prompt) == [prompt]
    assert alternatives.choose(prompt, 1) == prompt
    assert alternatives.count(prompt) == 1


def test_plain_text_imports_no_library() -> None:
    code = (
        "import sys; from mediakit.prompts.planning import Planner, Alternatives;"
        f"Alternatives().choose({PLAIN[2]!r}, 1); print('dynamicprompts' in sys.modules);"
        "Alternatives().choose('{a|b}', 1); print('dynamicprompts' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.split() == [b"False", b"True"]


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a {red|blue} {cat|dog}", ["a red cat", "a red dog", "a blue cat", "a blue dog"]),
        ("{2::red|blue}", ["red", "blue"]),
        ("{a|b{c|d}}", ["a", "bc", "bd"]),
        ("{2$$a|b|c}", ["a,b", "a,c", "b,a", "b,c", "c,a", "c,b"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b", "b and a"]),
        ("{5$$a|b}", ["a,b", "b,a"]),
        ("{-1$$a|b}", ["a", "b"]),
        ("very {|very }big", ["very big", "very very big"]),
        ("{a}", ["a"]),
        ("{a|a|{b|a}}", ["a", "b"]),
        ("50% {a|b} $5 #1 // x\t", ["50% a $5 #1 // x\t", "50% b $5 #1 // x\t"]),
        ("{50%|#1|http://x|\\{y\\}|a\\|b}", ["50%", "#1", "http://x", "\\{y\\}", "a\\|b"]),
        ("{(x:1.3)|[y]|<lora:z:0.8>}", ["(x:1.3)", "[y]", "<lora:z:0.8>"]),
        ("  {a|b}\n c ", ["  a\n c ", "  b\n c "]),
        ("{a__b|c}", ["a__b", "c"]),
        ("{_|x}_y__", ["\\__y__", "x_y__"]),
    ],
)
def test_every(prompt: str, texts: list[str]) -> None:
    alternatives = Alternatives()
    assert alternatives.every(prompt) == texts
    assert alternatives.count(prompt) == len(texts)
    assert {alternatives.choose(prompt, seed) for seed in range(200)} == set(texts)
    for text in texts:  # recorded prompts are expanded again when they are replayed
        assert alternatives.every(text) == [text]


def test_literal() -> None:
    assert literal("\\{a\\} \\(b\\) \\\\ c\\|d \\__x__") == "{a} \\(b\\) \\\\ c|d __x__"


def test_wildcards(folder: Path) -> None:
    alternatives = Alternatives(folder)
    assert alternatives.every("a __colour__ hat") == ["a blue hat", "a red hat"]
    assert alternatives.every("(__colour__:1.2)__colour__")[1] == "(blue:1.2)red"
    assert alternatives.every("{__colour__|red|green}") == ["blue", "red", "green"]
    assert alternatives.every("{2$$ and $$__colour__}") == ["blue and red", "red and blue"]
    assert alternatives.every("__odd__") == [
        "50% dark grey", "50% light grey", "blue hat", "red hat", "http://x #1",
    ]  # fmt: skip
    assert alternatives.every("__animals/*__") == ["horse", "mouse"]
    assert alternatives.every("__small__") == ["mouse"]  # in any folder
    assert alternatives.every("__size__ __sub/mood/good__")[-1] == "small happy"
    weighted = [alternatives.choose("__size__", seed) for seed in range(400)]
    assert 270 < weighted.count("big") < 330


def test_open_bounds_of_a_wildcard(folder: Path) -> None:
    assert Alternatives(folder).every("{1-$$__colour__}") == ["blue", "red", "blue,red", "red,blue"]
    assert Alternatives(folder).every("{2-$$__colour__}") == ["blue,red", "red,blue"]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a {red|blue", "'a {red|blue', character 3: { is never closed; write \\{ for a plain"),
        ("a } b", "'a } b', character 3: } closes nothing"),
        ("x\nyy {a|{b}", "character 4 of line 2: { is never closed"),
        ("x" * 200 + "}" + "y" * 200, "'..." + "x" * 30 + "}" + "y" * 29 + "...', character 201:"),
        ("{a$$b|c}", "character 1: this group can't be understood"),
        ("${x=1}", "variables ${...} can't be used"),
        ("%{a$$b}", "wrapping %{...} can't be used"),
        ("{@a|b}", "{@ can't be used"),
        ("__~colour__", "__~ can't be used"),
        ("{" * 30 + "}" * 30, "nested more than 20 deep"),
        ("{" + "9" * 400 + ".0::a|b}", "its weights are too large"),
        ("{" + "9" * 5000 + "$$a|b}", "can't be understood"),
        ("a __colur__", "there is no wildcard colur in"),
        ("a __colur__", "did you mean colour?"),
        ("{x|{__nope__|y}}", "there is no wildcard nope"),
        ("__empty__", "the wildcard empty in"),
        ("__latin__", "latin.txt is not UTF-8 text"),
        ("__loop__", "the wildcard loop in pool in loop has no end"),
    ],
)
def test_errors_name_prompt_and_place(folder: Path, prompt: str, message: str) -> None:
    with pytest.raises(ItemError) as e:
        Alternatives(folder).choose(prompt, 1)
    assert e.value.code == "bad_prompt"
    assert message in e.value.message
    assert "\n" not in e.value.message


def test_errors_about_the_directory(folder: Path) -> None:
    with pytest.raises(ItemError, match="for wildcards name their directory with --wildcards"):
        Alternatives().choose("__colour__", 1)
    with pytest.raises(UserError, match=r"--wildcards .*none: No such file"):
        Alternatives(folder / "none")
    (folder / "broken.yaml").write_text("a: [")
    alternatives = Alternatives(folder)
    assert alternatives.count("__colour__") == 2
    with pytest.raises(ItemError, match=r"zzz, and .*broken.yaml is damaged"):
        alternatives.count("__zzz__")


def test_counted_without_making_them(tmp_path: Path) -> None:
    (tmp_path / "word.txt").write_text("\n".join(f"w{i}" for i in range(1000)))
    alternatives = Alternatives(tmp_path)
    assert alternatives.count("{a|b|c}" * 40) == 3**40
    assert alternatives.count("{3$$__word__}") == 1000 * 999 * 998
    assert alternatives.count("{2$$__word__|{a|b}|c}") == 2 * (1000 * 2 + 1000 + 2)
    assert len(alternatives.every("__word__" * 9, most=7)) == 7
    with pytest.raises(ItemError, match="up to 1,000 options at once, too many to combine"):
        alternatives.count("{1-$$__word__}")
    assert alternatives.choose("{1-$$__word__}", 1).count(",") > 10


def test_too_many_combinations() -> None:
    check_combinations(10_000, None)
    check_combinations(3**40, limit=5)
    with pytest.raises(UserError, match="there are 10,001 combinations") as e:
        check_combinations(10_001, None)
    assert e.value.code == "usage"
    with pytest.raises(UserError, match=r"about 10\^477 "):
        check_combinations(3**1000, None)


def test_a_seed_chooses_the_same_for_ever() -> None:
    prompt = "{red|green|blue} {2$$ $$a|b|c|d} {5::x|y}"
    chosen = [Alternatives().choose(prompt, seed) for seed in (0, 1, 2, 2**32 - 1)]
    assert chosen == ["blue a d x", "green b c x", "red d c x", "red c d x"]


def template(rand: random.Random, depth: int = 0) -> str:
    """Random alternatives, all texts of which differ."""
    parts = []
    for _ in range(rand.randint(1, 3)):
        word = f"w{rand.randrange(10**9)}"
        if depth < 2 and rand.random() < 0.5:
            options = [template(rand, depth + 1) for _ in range(rand.randint(2, 3))]
            bound = rand.choice(["", "", "", "2$$", "1-2$$", "1-2$$ and $$"])
            parts.append("{" + bound + "|".join(options) + "}")
        else:
            parts.append(word)
    return " ".join(parts)


def test_the_same_as_dynamicprompts(folder: Path) -> None:
    from dynamicprompts.generators import CombinatorialPromptGenerator, RandomPromptGenerator
    from dynamicprompts.wildcards import WildcardManager

    (folder / "odd.txt").unlink()  # what the library can't read
    (folder / "colour.txt").write_text("red\nblue\n")
    manager = WildcardManager(folder)
    ours, rand = Alternatives(folder), random.Random(7)
    prompts = ["a __colour__ {x|__animals/*__}", "{2$$__colour__} {a|b}", "{2$$ $$__colour__|z}"]
    for prompt in prompts + [template(rand) for _ in range(12)]:
        every = ours.every(prompt, 50)
        assert every == CombinatorialPromptGenerator(manager).generate(prompt, 50), prompt
        if len(every) < 50:
            assert ours.count(prompt) == len(every)
        for seed in range(3):
            theirs = RandomPromptGenerator(manager, seed=seed).generate(prompt)
            assert [ours.choose(prompt, seed)] == theirs, prompt


def test_any_text_is_understood_or_refused() -> None:
    rand = random.Random(3)
    parts = ["{", "}", "|", "a", " ", "__", "_", "$$", "2$$", "2::", "\\", "\\{", "#", "%", "$",
             "~", "//", "(", ")", "é", "\n", "1-", "!", "/*", "*/"]  # fmt: skip
    understood = 0
    for _ in range(1500):
        prompt = "".join(rand.choices(parts, k=rand.randint(0, 10)))
        try:
            texts = Alternatives().every(prompt, 20)
        except ItemError as e:
            assert e.code == "bad_prompt"
            continue
        understood += 1
        for text in texts:
            assert Alternatives().every(text) == [text]
        assert Alternatives().choose(prompt, 1) is not None
    assert understood > 300
