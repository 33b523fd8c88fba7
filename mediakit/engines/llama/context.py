"""One model of llama.cpp's with one context: what was evaluated, and what comes next."""

import ctypes
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mediakit.engines.llama import log
from mediakit.engines.llama.fit import Room
from mediakit.engines.llama.native import native
from mediakit.errors import ItemError, OutOfMemory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# control tokens in some vocabularies; what they mean is prompts/thinking.py's matter
THOUGHT_MARKS = (
    "<think>", "</think>", "<|channel|>", "<|message|>", "<|start|>", "<|end|>"
)  # fmt: skip

Check = Callable[[], None]  # called between batches; raises Stopped
Begin = Callable[[int, int], Any]

_NO_ROOM, _NO_MEMORY = 1, -2  # of llama_decode


class Part(Protocol):
    """What stands among a prompt's tokens without being one: a picture.

    Equal `key`s stand for equal content; `positions` are those that it takes up in the context.
    """

    @property
    def key(self) -> Hashable: ...

    @property
    def positions(self) -> int: ...

    def evaluate(self, position: int) -> None:
        """Add it to the context at `position`; ItemError, OutOfMemory."""


Prompt = Sequence[int | Part]


class Place(NamedTuple):
    """A token to evaluate, where, and whether what comes after it is wanted."""

    token: int
    position: int
    sequence: int
    is_last: bool


class ContextFull(Exception):
    """No more tokens fit."""


class Context:
    """Tokens of one text, in order, and their keys and values in llama.cpp's memory.

    One thread at a time. `model` and `handle` are llama.cpp's own, for what reads pictures.
    """

    # whether one pass for several sequences gives each what it gets alone, to the last bit, or
    # that is no matter; None: to be found out, for each number of them that is not `tried` yet
    agrees: bool | None = True

    def __init__(self, model: Any, begin: Begin, room: Room, batch_size: int) -> None:
        """`begin` makes a handle for so many tokens (of each, where they are `apart`) and
        sequences; `model` is freed with it. A batch has `batch_size` tokens at most."""
        self.model, self.batch_size = model, batch_size
        self.size, self.apart = room.size, room.apart
        self.tried: set[int] = set()
        self._most = room
        self.vocab = native.llama_model_get_vocab(model)
        self.vocabulary = int(native.llama_vocab_n_tokens(self.vocab))
        self.handle: Any = None
        self._begin = begin
        self.room = 0  # tokens that the handle has memory for; of each sequence, if `apart`
        self.sequences = 0  # beside the first, that it has memory for
        self._memory: Any = None
        self._batch = native.llama_batch_init(self.batch_size, 0, 1)
        self._content: list[tuple[Hashable, int]] = []  # key, and the position after it
        self._piece = ctypes.create_string_buffer(256)

    def close(self) -> None:
        if self.model is None:
            return
        native.llama_batch_free(self._batch)
        self._free()
        native.llama_model_free(self.model)
        self.model = self.vocab = None

    def reserve(self, tokens: int, sequences: int = 0) -> None:
        """Have memory for so many tokens, and for so many sequences beside the first, or for what
        there may be of both; where it has to grow, its content is forgotten. It is not all taken at
        once, because filling it with zeros takes longer than reading a small model. Raises what
        `begin` does."""
        others = self.sequences if self.agrees is not False else 0
        room, sequences = self._most.of(tokens, max(sequences, others))
        if min(tokens, room) <= self.room and sequences <= self.sequences:
            return
        self._free()
        self.handle = self._begin(room, 1 + sequences)
        self.room, self.sequences = room, sequences
        self._memory = native.llama_get_memory(self.handle)

    def has_room(self, tokens: int, sequences: int) -> bool:
        """Whether two of so many sequences beside the first, of so many tokens each, can be had."""
        return not self.apart or self._most.of(tokens, sequences)[1] > 1

    def _free(self) -> None:
        if self.handle is not None:
            native.llama_free(self.handle)
        self.handle = self._memory = None
        self.room = self.sequences = 0
        self._content.clear()

    # text and tokens

    def tokenize(self, text: str, special: bool) -> list[int]:
        """Without BOS or EOS; with `special`, the names of control tokens become such tokens."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8  # a token is a byte at least, but for a space that is put before
        tokens = (native.llama_token * room)()
        count = native.llama_tokenize(self.vocab, data, len(data), tokens, room, False, special)
        if count < 0:
            raise ItemError("failed", "llama.cpp can't make tokens of the prompt; shorten it")
        return list(tokens[:count])

    def piece(self, token: int) -> bytes:
        """What a token adds to the text; nothing for control tokens, but for those that say where
        a thought begins and ends."""
        buffer, visible = self._piece, token in self._marks
        length = native.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, visible)
        if length < 0:
            buffer = self._piece = ctypes.create_string_buffer(-length)
            length = native.llama_token_to_piece(self.vocab, token, buffer, -length, 0, visible)
        return buffer.raw[:length]

    @cached_property
    def _marks(self) -> set[int]:
        """The tokens of THOUGHT_MARKS that the model has."""
        found = (self.tokenize(name, special=True) for name in THOUGHT_MARKS)
        return {tokens[0] for tokens in found if len(tokens) == 1}

    def is_control(self, token: int) -> bool:
        return bool(native.llama_vocab_is_control(self.vocab, token))

    def ends(self, token: int) -> bool:
        """Whether the model ends its turn with it: end of sequence, of turn, of message."""
        return bool(native.llama_vocab_is_eog(self.vocab, token))

    # evaluation

    @property
    def position(self) -> int:
        return self._content[-1][1] if self._content else 0

    @property
    def count(self) -> int:
        """Tokens and parts that it holds."""
        return len(self._content)

    def evaluate(self, prompt: Prompt, check: Check) -> int:
        """Make `prompt` the whole content, keeping what is there of its beginning already.

        Returns how many tokens and parts were kept; at least the last one is evaluated again, so
        that `logits` are of it. Raises ContextFull, OutOfMemory, ItemError and what `check` does;
        what was evaluated until then stays.
        """
        self.reserve(sum(1 if isinstance(item, int) else item.positions for item in prompt))
        kept = 0
        for (key, _), item in zip(self._content, prompt[:-1], strict=False):
            if key != (item if isinstance(item, int) else item.key):
                break
            kept += 1
        kept = self.keep(kept)
        run: list[int] = []
        for item in prompt[kept:]:
            if isinstance(item, int):
                run.append(item)
                continue
            self._add(run, check)
            run = []
            self._add_part(item)
            check()
        self._add(run, check)
        return kept

    def add(self, token: int) -> None:
        """Evaluate one more token, for which room is reserved. Raises as `evaluate` does."""
        self._extend([token])

    def keep(self, count: int) -> int:
        """Forget all but the first `count` tokens; how many are left, 0 where a model's memory
        can't be shortened."""
        if count == len(self._content):
            return count
        end = self._content[count - 1][1] if count else 0
        if not count or not native.llama_memory_seq_rm(self._memory, 0, end, -1):
            native.llama_memory_clear(self._memory, True)
            count = 0
        del self._content[count:]
        return count

    def logits(self, at: int = -1) -> "NDArray[np.float32]":
        """Of what comes after the last token, or after the one `at` that place of what `decode`
        was given: a view, until the next is evaluated."""
        import numpy as np

        pointer = native.llama_get_logits_ith(self.handle, at)
        return np.ctypeslib.as_array(pointer, shape=(self.vocabulary,))

    # several texts that go on from what it holds, each a sequence of its own

    def fork(self, sequence: int) -> None:
        """Let a sequence, from 1, begin with all that the context holds."""
        self.drop(sequence)
        if self._content:
            native.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)

    def drop(self, sequence: int, position: int = -1) -> None:
        """Forget a sequence, or what it has from a position on; what it shares with others stays.
        Of a recurrent model only the whole."""
        native.llama_memory_seq_rm(self._memory, sequence, position, -1)

    def decode(self, tokens: Sequence[Place]) -> None:
        """Evaluate tokens of any sequences, `batch_size` at most, for which there is room.

        Raises ContextFull, OutOfMemory, ItemError; all sequences are forgotten then.
        """
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, place in enumerate(tokens):
            batch.token[i] = place.token
            batch.pos[i] = place.position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = place.sequence
            batch.logits[i] = place.is_last
        log.silence()
        status = native.llama_decode(self.handle, batch)
        if status:
            native.llama_memory_clear(self._memory, True)
            self._content.clear()
            raise _fault(status)

    def _add(self, tokens: list[int], check: Check) -> None:
        for at in range(0, len(tokens), self.batch_size):
            self._extend(tokens[at : at + self.batch_size])
            check()

    def _add_part(self, part: Part) -> None:
        position = self.position
        if position + part.positions > self.size:
            raise ContextFull
        try:
            part.evaluate(position)
        except BaseException:
            self.keep(0)  # how much of it is in the memory is not known
            raise
        self._content.append((part.key, position + part.positions))

    def _extend(self, tokens: list[int]) -> None:
        position = self.position
        if position + len(tokens) > self.room:
            raise ContextFull
        last = len(tokens) - 1
        self.decode([Place(token, position + i, 0, i == last) for i, token in enumerate(tokens)])
        self._content += [(token, position + i + 1) for i, token in enumerate(tokens)]


def _fault(status: int) -> Exception:
    if status == _NO_ROOM:
        return ContextFull()
    if status == _NO_MEMORY:
        return OutOfMemory(log.cause("llama.cpp ran out of memory"))
    return ItemError("failed", f"llama.cpp gave up ({log.cause(f'status {status}')}); try again")
