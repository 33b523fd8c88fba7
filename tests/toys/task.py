"""The toy task: a text file in, the same in capitals out, with accidents on demand."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediakit.batch.files import FileState, read_file
from mediakit.batch.item import Decoded, Extra, Item, Made, extra_file
from mediakit.batch.task import Emit, Task
from mediakit.errors import ItemError, OutOfMemory, PlaceError, UserError
from mediakit.params import Execution, Params, option


@dataclass
class Text:
    text: str
    nbytes: int


class ToyParams(Params):
    times: int = option(1, "How often the text is repeated.")
    model: str = option("good", "A bad one can't be loaded.")
    also: str = option("", "Suffixes of more files, such as '.low.all': the text in other ways.")


class ToyExecution(Execution):
    """Accidents: each `NAME` is that of one input, without its suffix."""

    seconds: float = option(0.0, "Time that computing an item takes.")
    silent: bool = option(False, "Computing an item reports no progress.")
    encode_seconds: float = option(0.0, "Time that writing an item takes.")
    megabytes: int = option(0, "Memory that a decoded item is said to take.")
    items: int = option(1, "Batch size.")
    log: str | None = option(None, "File to note the steps in.")
    fail: str | None = option(None, "NAME fails with an exception.")
    corrupt: str | None = option(None, "NAME can't be decoded.")
    lost: str | None = option(None, "The device is lost at NAME.")
    crash: str | None = option(None, "The process dies at NAME.")
    oom: str | None = option(None, "Memory runs out in batches with NAME.")
    steps: int = option(0, "How often memory can be stepped down before NAME fits.")
    before_write: str | None = option(None, "Shell command run before an output is written.")


class Toy(Task):
    name = "toy"
    summary = "Text in, capitals out."
    Params = ToyParams
    Execution = ToyExecution
    input_role = "text"
    extra = "toy"
    packages = ()
    suffixes = frozenset({".txt"})
    output_suffixes = frozenset({".txt"})

    def __init__(self, execution: ToyExecution, *rest: Any) -> None:
        super().__init__(execution, *rest)
        self.execution: ToyExecution = execution
        self.batch_size = execution.items
        self._steps = 0

    @classmethod
    def model_names(cls, params: Any) -> Mapping[str, str]:
        return {}

    @classmethod
    def suffix(cls, name: str, params: Any) -> str:
        return ".txt"

    @classmethod
    def more_suffixes(cls, name: str, params: Any) -> tuple[str, ...]:
        return tuple(f".{name}" for name in params.also.split(".") if name)

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        return head.startswith(b"TEXT:")

    def begin(self) -> None:
        if self.execution.device == "none":
            raise UserError("bad_device", "there is no such device")

    def used(self) -> Mapping[str, Any]:
        return {"steps": self._steps}

    def decode(self, item: Item) -> Decoded:
        path, data = item.source.path, item.source.data
        if data is None:
            data, state = read_file(path)
        else:
            state = FileState.of_bytes(path, data)
        if _stem(item) == self.execution.corrupt:
            raise ItemError("corrupt", f"{path} is damaged")
        self._note("decode", item)
        text = Text(data.decode(), len(data) + (self.execution.megabytes << 20))
        return Decoded(text, (state,))

    def compute(self, batch: list[tuple[Item, Decoded]], emit: Emit) -> list[Text]:
        e = self.execution
        names = [_stem(item) for item, _ in batch]
        for item, _ in batch:
            self._note(f"compute/{len(batch)}", item)
            if item.recipe and item.recipe.params.model == "bad":  # type: ignore[attr-defined]
                raise UserError("bad_weights", "the model is damaged")
        if e.oom in names and (len(batch) > 1 or self._steps < e.steps or not e.steps):
            raise OutOfMemory("the toy box is full")
        if e.fail in names:
            raise RuntimeError("broken\nbeyond repair")
        if e.lost in names:
            raise PlaceError("device_lost", "the device is lost")
        if e.crash in names:
            os.kill(os.getpid(), signal.SIGKILL)
        end = time.monotonic() + e.seconds * len(batch)
        while (left := end - time.monotonic()) > 0:
            if not e.silent:
                emit(1 - left / (e.seconds * len(batch)))
            time.sleep(min(left, 0.02))
        return [self._capitals(item, decoded.media) for item, decoded in batch]

    def _capitals(self, item: Item, media: Text) -> Text:
        assert item.recipe is not None
        text = media.text.upper() * item.recipe.params.times  # type: ignore[attr-defined]
        return Text(text, len(text))

    def step_down(self) -> str | None:
        if self._steps >= self.execution.steps:
            return None
        self._steps += 1
        return f"step {self._steps}"

    def encode(self, item: Item, media: Text, file: Path) -> Made:
        if self.execution.encode_seconds:
            time.sleep(self.execution.encode_seconds)
        if self.execution.before_write:
            os.system(self.execution.before_write)
        data = media.text.encode()
        self._write(file, data)
        assert item.recipe is not None
        suffixes = self.more_suffixes(item.source.relative, item.recipe.params)
        extras = []
        for number, (path, suffix) in enumerate(zip(item.also, suffixes, strict=False)):
            extra = extra_file(file, number)
            self._write(extra, data.lower() + suffix.encode())
            extras.append(Extra(extra, path, suffix[1:], "text/plain"))
        self._note("encode", item)
        result = {"length": len(data), "text": media.text}
        return Made("text/plain", result, role="text", extras=tuple(extras))

    def _write(self, file: Path, data: bytes) -> None:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            half = len(data) // 2
            for part in (data[:half], data[half:]):  # a kill in between leaves a torn file
                if os.write(fd, part) != len(part):
                    os.write(fd, part)  # says why: disk full
        finally:
            os.close(fd)

    def _note(self, step: str, item: Item) -> None:
        if self.execution.log:
            with open(self.execution.log, "a") as log:
                log.write(f"{step} {_stem(item)}\n")


def _stem(item: Item) -> str:
    return Path(item.source.path).stem
