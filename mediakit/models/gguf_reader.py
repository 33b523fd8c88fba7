"""The pairs and tensors of a GGUF file, read without trust: nothing lies outside the file."""

import mmap
import struct
from collections import Counter
from typing import Any

from mediakit.errors import show
from mediakit.models.gguf_types import TENSOR_TYPES

_STRING, _ARRAY = 8, 9
# value type -> its format; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_SCALARS = {
    number: struct.Struct(f"<{code}")
    for number, code in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
    }.items()
}  # fmt: skip
_COUNT = struct.Struct("<Q")
_SMALLEST_PAIR = 13  # bytes: an empty key, a type, a byte
_SMALLEST_TENSOR = 24  # an empty name, no dimensions, a type, an offset
_LONGEST_KEY = 65535
_LONGEST_NAME = 63  # of a tensor (GGML_MAX_NAME, with its NUL)
_LONGEST_KEPT = 1 << 20  # bytes of a text: chat templates have up to 20 kB
_MOST_KEPT = 4096  # numbers of an array: those a layer has
_MOST_DIMENSIONS = 4


class Damaged(Exception):
    """What is wrong with the file."""


class Reader:
    """Walks through the bytes once; every length is compared with what is left of them."""

    values: dict[str, Any]  # the beginning of arrays of numbers, and no arrays of texts
    counts: dict[str, tuple[int, int]]  # array -> type and count
    types: Counter[str]  # type of tensors -> bytes of all of them
    tensor_bytes: int

    def __init__(self, data: mmap.mmap) -> None:
        """Read it all. Damaged, or struct.error where it ends too early."""
        self._data = data
        self._at = 8  # behind magic and version
        self._texts: dict[str, int] = {}  # array -> position of its first
        self.values, self.counts, self.types = {}, {}, Counter()
        tensors, pairs = self._count(_SMALLEST_TENSOR), self._count(_SMALLEST_PAIR)
        for _ in range(pairs):
            self._pair()
        self.tensor_bytes = self._tensors(tensors)

    def text(self, key: str, number: int) -> str:
        """One of an array of texts, empty if there is none of that number."""
        if key not in self._texts or not 0 <= number < self.counts[key][1]:
            return ""
        self._at = self._skip(self._texts[key], number)
        return self._text(_LONGEST_KEPT)

    def _unpack(self, form: struct.Struct) -> Any:
        (value,) = form.unpack_from(self._data, self._at)
        self._at += form.size
        return value

    def _count(self, smallest: int) -> int:
        """How many of something that takes so many bytes at least."""
        count = int(self._unpack(_COUNT))
        if count * smallest > len(self._data) - self._at:
            raise Damaged(f"it is too short for what it says it holds, {count} entries")
        return count

    def _text(self, longest: int) -> str:
        length = self._count(1)
        if length > longest:
            raise Damaged(f"a text of {length} bytes where {longest} are the most")
        text = self._data[self._at : self._at + length]
        self._at += length
        return text.decode("utf-8", "replace")

    def _pair(self) -> None:
        key = self._text(_LONGEST_KEY)
        if key in self.values or key in self.counts:
            raise Damaged(f"{show(key[:80])} is there twice")
        kind = self._unpack(_SCALARS[4])
        if kind == _STRING:
            self.values[key] = self._text(_LONGEST_KEPT)
        elif kind == _ARRAY:
            self._array(key)
        elif kind in _SCALARS:
            self.values[key] = self._unpack(_SCALARS[kind])
        else:
            raise Damaged(f"{show(key[:80])} has the unknown type {kind}")

    def _array(self, key: str) -> None:
        kind = self._unpack(_SCALARS[4])
        if kind == _STRING:
            count = self._count(_COUNT.size)
            self.counts[key] = kind, count
            self._texts[key] = self._at
            self._at = self._skip(self._at, count)
            return
        if kind not in _SCALARS:  # llama.cpp takes no arrays of arrays either
            raise Damaged(f"{show(key[:80])} is an array of the unknown type {kind}")
        form = _SCALARS[kind]
        count = self._count(form.size)
        self.counts[key] = kind, count
        end = self._at + count * form.size
        kept = min(count, _MOST_KEPT)
        part = self._data[self._at : self._at + kept * form.size]
        self.values[key] = [value for (value,) in form.iter_unpack(part)]
        self._at = end

    def _skip(self, at: int, count: int) -> int:
        """The position after `count` strings: 150,000 in 30 ms."""
        data, unpack, end = self._data, _COUNT.unpack_from, len(self._data)
        for _ in range(count):
            at += 8 + unpack(data, at)[0]
            if at > end:
                raise Damaged("it ends too early")
        return at

    def _tensors(self, count: int) -> int:
        """Bytes of all weights, each of which lies within the file."""
        alignment = self.values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise Damaged(f"an alignment of {show(alignment)} bytes")
        seen: set[str] = set()
        expected = offset = size = 0
        for _ in range(count):
            name = self._text(_LONGEST_NAME)
            if name in seen:
                raise Damaged(f"the tensor {show(name)} is there twice")
            seen.add(name)
            kind, size = self._tensor_size(name)
            self.types[kind] += size
            offset = self._unpack(_COUNT)
            if offset != expected:  # as llama.cpp has it: no gaps, no overlaps
                raise Damaged(f"the tensor {show(name)} is not where it has to be")
            expected += size + -size % alignment
        begin = self._at + -self._at % alignment
        missing = begin + offset + size - len(self._data)  # the last one need not be padded
        if count and missing > 0:
            raise Damaged(f"its last {missing} bytes are missing")
        return expected

    def _tensor_size(self, name: str) -> tuple[str, int]:
        """The name of its type, and its bytes."""
        dimensions = self._unpack(_SCALARS[4])
        if dimensions > _MOST_DIMENSIONS:
            raise Damaged(f"the tensor {show(name)} has {dimensions} dimensions")
        shape = [self._unpack(_COUNT) for _ in range(dimensions)]
        kind = self._unpack(_SCALARS[4])
        if kind not in TENSOR_TYPES:
            raise Damaged(f"the tensor {show(name)} has the unknown type {kind}")
        called, block, nbytes = TENSOR_TYPES[kind]
        number = 1
        for side in shape:
            number *= side
        if not number or (shape[0] if shape else 1) % block:
            raise Damaged(f"the tensor {show(name)} has an impossible shape")
        return called, number // block * nbytes
