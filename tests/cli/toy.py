"""`copy`: a task that needs no model library; `times` repeats the bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mediakit.batch.files import FileState, read_file
from mediakit.batch.item import Decoded, Item, Made
from mediakit.batch.task import Emit, Task
from mediakit.errors import ItemError, show
from mediakit.params import Execution, Params, option


class CopyParams(Params):
    times: int | None = option(None, "How often.", ge=1, le=9)
    mode: Literal["keep", "loud"] = option("keep", "Whether to shout.")


class Copy(Task):
    name = "copy"
    summary = "Copy files."
    Params = CopyParams
    Execution = Execution
    input_role = "file"
    extra = "copy"
    packages = ()
    suffixes = frozenset({".dat", ".bin"})
    output_suffixes = suffixes

    @classmethod
    def model_names(cls, params: CopyParams) -> Mapping[str, str]:
        return {}

    @classmethod
    def suffix(cls, name: str, params: CopyParams) -> str:
        return Path(name).suffix or ".dat"

    @classmethod
    def sniff(cls, head: bytes) -> str:
        return ".dat" if head.startswith(b"DATA\0") else ""

    def begin(self) -> None:
        pass

    def used(self) -> Mapping[str, Any]:
        return {"device": "none"}

    def decode(self, item: Item) -> Decoded:
        path, data = item.source.path, item.source.data
        if data is None:
            data, state = read_file(path)
        else:
            state = FileState.of_bytes(path, data)
        if data.startswith(b"bad"):
            raise ItemError("corrupt", f"{show(path)} is bad")
        return Decoded(memoryview(data), (state,))

    def compute(self, batch: list[tuple[Item, Decoded]], emit: Emit) -> list[memoryview]:
        return [memoryview(self._made(item, bytes(decoded.media))) for item, decoded in batch]

    def _made(self, item: Item, data: bytes) -> bytes:
        assert item.recipe is not None
        params: CopyParams = item.recipe.params  # type: ignore[assignment]
        return (data.upper() if params.mode == "loud" else data) * (params.times or 1)

    def step_down(self) -> str | None:
        return None

    def encode(self, item: Item, media: memoryview, file: Path) -> Made:
        file.write_bytes(media)
        return Made("application/octet-stream", {"bytes": len(media)})
