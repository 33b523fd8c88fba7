"""What a running batch tells whoever started it; nothing below the command line prints."""

from collections.abc import Callable
from dataclasses import dataclass

from mediakit.batch.item import Item
from mediakit.batch.record import Record, Status
from mediakit.errors import MediakitError


@dataclass(frozen=True, slots=True)
class Planned:
    """The number of items, None for a stream."""

    total: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """The share of an item's computation that is done, 0 to 1, and more in words."""

    item: Item
    share: float
    told: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of the text that is being made of an item."""

    item: Item
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """An item has ended; in the order of the inputs. `record` is None for skipped items unless
    records were asked for. `data` holds the output's bytes when they go to standard output."""

    item: Item
    status: Status
    record: Record | None = None
    error: MediakitError | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Fetching:
    """Bytes of a model's file that have come, of how many."""

    file: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the person: level 0 always (unless quiet), 1 with -v; `error` even if quiet."""

    text: str
    level: int = 0
    error: bool = False


Event = Planned | Progress | Piece | Finished | Fetching | Note
Notify = Callable[[Event], None]
