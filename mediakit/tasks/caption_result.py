"""What becomes of a caption: its files, what they held before, and what the record says of it."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit.batch.files import input_error
from mediakit.batch.item import Item, Made
from mediakit.errors import ItemError, show
from mediakit.media.captions import joined
from mediakit.models.captioners import LISTS
from mediakit.tasks import text_files
from mediakit.tasks.caption_options import FORMATS, CaptionParams
from mediakit.tasks.text_files import format_of

if TYPE_CHECKING:
    from mediakit.engines.caption.request import Caption


@dataclass(slots=True)
class Said:
    """A caption on its way to its files: what those hold now, and what was put there before."""

    caption: "Caption"
    held: Mapping[str, bytes]
    earlier: Mapping[str, Any] | None
    overwrite: bool
    warnings: list[str] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return 1000 + sum(map(len, self.held.values()))


def params_of(item: Item) -> CaptionParams:
    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, CaptionParams)
    return params


def suffix(name: str, format: str, params: CaptionParams) -> str:
    own = os.path.splitext(name)[1] if format == "xmp" and params.xmp_name == "full" else ""
    return f"{own}.{format}"


def held_by(item: Item) -> dict[str, bytes]:
    """What the item's files hold, of those to which something is added."""
    if item.output is None:
        return {}
    found = {}
    for path in (item.output, *item.also):
        if params_of(item).append or format_of(path) == "xmp":
            with suppress(FileNotFoundError):
                try:
                    found[path] = Path(path).read_bytes()
                except FileNotFoundError:
                    raise
                except OSError as e:
                    raise input_error(path, e) from None
    return found


def lost(item: Item, said: Said) -> ItemError | None:
    """What would be lost: a file holds what was not made here, and is not added to any more."""
    earlier = said.earlier
    added = earlier is not None and earlier["params"].get("append")
    if not added or params_of(item).append or said.overwrite:
        return None
    return ItemError(
        "would_overwrite",
        f"{show(item.output)} also holds what was there before a caption was added; --append "
        "keeps that, --overwrite replaces it",
    )


def written(item: Item, media: Said, file: Path) -> Made:
    """A caption in all the formats that its item wants; see Task.encode."""
    params = params_of(item)
    text = f"{params.prefix}{media.caption.text}{params.suffix}"
    result: dict[str, Any] = {"text": text, "words": len(media.caption.text.split())}
    if params.mode in LISTS:
        result["tags"] = list(media.caption.tags)

    def content(format: str, path: str) -> bytes:
        return _content(format, path, media, params, result)

    made = text_files.write(item, params, FORMATS, file, content)
    made.result = result
    made.warnings = [] if media.caption.text else ["the model said nothing"]
    return made


def _content(
    format: str, path: str, media: Said, params: CaptionParams, result: Mapping[str, Any]
) -> bytes:
    """What a file is to hold. ItemError would_overwrite where what was put there is gone."""
    text = result["text"]
    if format == "json":
        told = {k: result[k] for k in ("text", "tags") if k in result}
        asked = {k: getattr(params, k) for k in ("mode", "prompt") if getattr(params, k)}
        whole = {"caption": told.pop("text"), **told, **asked, "model": params.model}
        return (json.dumps(whole, ensure_ascii=False, indent=1) + "\n").encode()
    held = media.held.get(path)

    def put(old: str) -> str:
        return _put(old, text, path, media, params) if params.append else text

    if format == "xmp":
        from mediakit.media.xmp_sidecar import packet

        return packet(held, path, put, result.get("tags", ()))
    try:
        old = (held or b"").decode()
    except UnicodeDecodeError:
        raise ItemError(
            "corrupt", f"{show(path)} is not text in UTF-8: nothing can be put behind it"
        ) from None
    return f"{put(old)}\n".encode()


def _put(old: str, text: str, path: str, media: Said, params: CaptionParams) -> str:
    """The text behind what is there, in place of what was put there before."""
    separator = params.separator.replace(r"\n", "\n")
    before = media.earlier["result"].get("text") if media.earlier else None
    made = joined(old, text, separator, before)
    if made is None and media.overwrite:
        made = joined(old, text, separator)
    if made is None:
        raise ItemError(
            "would_overwrite",
            f"{show(path)}: the caption that was put there was edited; --overwrite adds another",
        )
    return made
