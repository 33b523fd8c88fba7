"""Which words are one token: those of the captions and a few more; any other text is letters."""

import itertools

from transformers import CLIPTokenizer

from .draw import COLOURS, PLACES, SHAPES, SIZES

_MORE = ("and", "background", "drawing", "of", "photo", "picture", "with")
_LENGTH = 77  # tokens, as all of Stable Diffusion


def starter_tokenizer() -> CLIPTokenizer:
    """A byte-level BPE tokenizer in CLIP's format, made from the words alone."""
    letters = _byte_letters()
    vocabulary = dict.fromkeys([*letters, *(f"{letter}</w>" for letter in letters)])
    merges: dict[tuple[str, str], None] = {}
    for word in words():
        parts = [*word[:-1], f"{word[-1]}</w>"]
        for start, end in itertools.pairwise(itertools.accumulate(parts)):
            merges[(start, end.removeprefix(start))] = None
            vocabulary[end] = None
    names = [*vocabulary, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={name: index for index, name in enumerate(names)},
        merges=list(merges),
        model_max_length=_LENGTH,
    )


def words() -> list[str]:
    """All that captions are made of, and a few more; sorted."""
    phrases = ["a", *_MORE, *COLOURS, *SHAPES, *SIZES, *PLACES]
    return sorted({word for phrase in phrases for word in phrase.split()})


def _byte_letters() -> list[str]:
    """The printable letter of each byte (GPT-2's table, which CLIP uses)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = len(set(range(256)) - set(shown))
    return [chr(code) for code in [*shown, *range(256, 256 + hidden)]]
