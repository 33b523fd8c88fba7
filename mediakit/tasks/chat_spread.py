"""Which question an input asks, and all that its row must say so that its record says it all."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mediakit.batch.item import Source
from mediakit.errors import ItemError, show
from mediakit.prompts.filling import fill
from mediakit.prompts.names import slug
from mediakit.prompts.seeds import DERIVED, parse_seeds, seeds_of


class Spreader:
    """One batch's: an input is one question, however often it is asked."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def __call__(self, source: Source, params: Any) -> Iterator[Source]:
        row = dict(source.row or {})
        if source.is_text:
            try:
                text = _asked(source, params.template)
            except ItemError as e:  # the text goes into the record of the failure
                path = source.path.encode("utf-8", "backslashreplace").decode()
                yield replace(source, path=path, error=e)
                return
            row |= {"prompt": text, "template": None}
            times = self._asked[text]
            self._asked[text] += 1
            relative = slug(text) + (f"-{times + 1}" if times else "")
            source = replace(source, path=text, relative=relative)
        else:
            text, times = source.relative, 0
        row["seed"] = seed_of(params.seed, text, times)
        beside = {f"image{n or ''}": path for n, path in enumerate(params.image)}
        yield replace(source, row=row, beside=beside)


def _asked(source: Source, template: str | None) -> str:
    try:
        return asked(template, source.path, source.columns)
    except ItemError as e:
        where = f"{show(source.where)}: " if source.where else ""
        raise ItemError(e.code, f"{where}{e.message}") from None


def asked(template: str | None, text: str, columns: Any) -> str:
    """The question of an input; ItemError where there is none."""
    if template:
        text = fill(template, {"prompt": text, "text": text, **columns})
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ItemError(
            "bad_prompt", f"{show(text[:60])}: the prompt is not UTF-8; save its list as that"
        ) from None
    if not text.strip():
        raise ItemError("no_prompt", "the prompt is empty; write one")
    return text


def seed_of(told: int | str | None, text: str, times: int) -> int:
    """The seed of a question that was asked `times` before, by what --seed says."""
    seeds = DERIVED if told is None else parse_seeds(told)
    return next(iter(seeds_of(seeds, 1, text, times)))
