"""How a picture becomes part of a prompt: by the projector of a vision model, llama.cpp's mtmd.

One way for all families (LLaVA, Moondream, MiniCPM-V, Qwen2.5-VL, Gemma 3, SmolVLM ...): mtmd knows
each from the projector's own file. It is handed pixels that we have decoded, so it opens no file,
fetches nothing and decodes nothing.
"""

import ctypes
import hashlib
import weakref
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.engines.llama import log
from mediakit.engines.llama.context import Context, ContextFull, Part
from mediakit.engines.llama.native import multimodal, native
from mediakit.errors import ItemError, OutOfMemory, UserError, show
from mediakit.media.reading import read_picture
from mediakit.media.rgb import shown

mtmd = multimodal()

MAX_PIXELS = 256_000_000  # of a picture that nobody has checked before
_THIN = 16  # times as long as it is wide: what models have in mind when they fail
_NO_ROOM, _NO_MEMORY = 1, -2  # of llama_decode
_OTHER_MODEL = "mismatch between text model"  # mtmd's words for a projector of another width


class Projector:
    """What lets a model see. It belongs to one context, and is closed before that is.

    A prompt is made of tokens and of what `look` returns for a picture; where two prompts begin
    alike, pictures included, the context keeps what it has (Context.evaluate).
    """

    def __init__(self, file: Path, context: Context, threads: int, on_gpu: bool) -> None:
        """`file` has passed check_projector of its header. UserError wrong_model where it is for
        another model, or for sound; bad_weights."""
        self._context = context
        context.reserve(context.size)  # how much of it pictures take is not known before
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = on_gpu
        params.print_timings = False
        params.warmup = False
        params.n_threads = threads
        if not on_gpu:  # as for the model itself: flash attention rounds differently
            params.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_DISABLED
        log.silence()
        mtmd.mtmd_helper_log_set(log.listener, ctypes.c_void_p(0))  # mtmd does not ask llama.cpp's
        name = str(file).encode("utf-8", "surrogateescape")
        self._handle: Any = mtmd.mtmd_init_from_file(name, context.model, params)
        if not self._handle:
            raise _unusable(file)
        self._close = weakref.finalize(self, mtmd.mtmd_free, self._handle)
        self._marker = mtmd.mtmd_default_marker()
        if not mtmd.mtmd_support_vision(self._handle):
            self.close()
            raise UserError(
                "wrong_model",
                f"{show(file)} lets a model hear, not see; give a projector for pictures",
            )

    def close(self) -> None:
        self._close()

    def look(self, data: bytes) -> Sequence[int | Part]:
        """What stands in a prompt for a picture, given as the bytes of its file: the model's own
        tokens around a picture, and parts that are evaluated when their turn comes.

        ItemError corrupt, unsupported_format and what else read_picture finds; failed.
        """
        picture = shown(read_picture(data, "the picture", MAX_PIXELS))
        chunks = self._chunks(picture.pixels)
        try:
            digest = hashlib.sha256(repr(picture.pixels.shape).encode() + picture.pixels.tobytes())
            count = int(mtmd.mtmd_input_chunks_size(chunks))
            found: list[int | Part] = []
            for number in range(count):
                chunk = mtmd.mtmd_input_chunks_get(chunks, number)
                if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
                    found += _tokens(chunk)
                else:
                    found.append(_Seen(self, chunk, (digest.hexdigest(), number)))
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
        return found

    def _chunks(self, pixels: NDArray[np.uint8]) -> Any:
        """The picture as mtmd cuts it up: in tiles, with tokens between them, or whole."""
        height, width = pixels.shape[:2]
        data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        bitmap = mtmd.mtmd_bitmap_init(width, height, data)
        chunks = mtmd.mtmd_input_chunks_init()
        text = mtmd.mtmd_input_text(
            text=self._marker, text_len=len(self._marker), add_special=False, parse_special=True
        )
        bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
        log.silence()
        try:
            status = mtmd.mtmd_tokenize(self._handle, chunks, ctypes.byref(text), bitmaps, 1)
        finally:
            mtmd.mtmd_bitmap_free(bitmap)
        if status:
            mtmd.mtmd_input_chunks_free(chunks)
            said = show(log.cause(f"status {status}"))
            raise ItemError(
                "too_narrow" if max(width, height) > _THIN * min(width, height) else "failed",
                f"the model can't look at a picture of {width} x {height} pixels ({said}); crop it",
            )
        return chunks

    def evaluate(self, chunk: Any, position: int) -> None:
        """Add a piece of a picture to the context. ContextFull, OutOfMemory, ItemError."""
        context = self._context
        count = int(mtmd.mtmd_input_chunk_get_n_tokens(chunk))
        at_once = int(native.llama_n_ubatch(context.handle))
        if mtmd.mtmd_decode_use_non_causal(self._handle, chunk) and count > at_once:
            raise ItemError(
                "failed",
                f"the picture takes {count} tokens, and this model must see all at once, of which "
                f"llama.cpp takes {at_once}; make the picture smaller",
            )
        end = native.llama_pos(0)
        log.silence()
        status = mtmd.mtmd_helper_eval_chunk_single(
            self._handle, context.handle, chunk, position, 0, context.batch_size, False,
            ctypes.byref(end),
        )  # fmt: skip
        if status == _NO_ROOM:
            raise ContextFull
        if status == _NO_MEMORY:
            raise OutOfMemory(log.cause("llama.cpp ran out of memory"))
        if status:
            raise ItemError(
                "failed", f"llama.cpp can't look at the picture ({log.cause(f'status {status}')})"
            )


class _Seen:
    """A picture, or a tile of one."""

    def __init__(self, projector: Projector, chunk: Any, key: Hashable) -> None:
        self._projector = projector
        self._chunk = mtmd.mtmd_input_chunk_copy(chunk)
        weakref.finalize(self, mtmd.mtmd_input_chunk_free, self._chunk)
        self.key = key
        self.positions = int(mtmd.mtmd_input_chunk_get_n_pos(self._chunk))

    def evaluate(self, position: int) -> None:
        self._projector.evaluate(self._chunk, position)


def _tokens(chunk: Any) -> list[int]:
    """UserError wrong_model where the model has no such token, which mtmd calls -1."""
    count = ctypes.c_size_t()
    tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    found = [int(tokens[at]) for at in range(count.value)]
    if min(found, default=0) < 0:
        raise UserError(
            "wrong_model",
            "the model lacks the tokens that the projector puts around pictures; "
            "give the projector that was published with the model",
        )
    return found


def _unusable(file: Path) -> UserError:
    said = log.cause("it does not say why")
    if _OTHER_MODEL in said:
        return UserError(
            "wrong_model",
            f"{show(file)} is the projector of another model ({show(said)}); "
            "give the one that was published with the model",
        )
    return UserError(
        "bad_weights",
        f"{show(file)}: llama.cpp can't load the projector ({show(said)}); fetch it again, "
        "or upgrade llama-cpp-python if the model is newer",
    )
