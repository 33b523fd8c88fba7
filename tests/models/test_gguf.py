"""Headers of GGUF files: real, small, hostile and cut off anywhere."""

import random
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import TEMPLATE, facts, gguf, pair, text, tiny, weights

from mediakit.errors import UserError
from mediakit.models.gguf import Header, header


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.gguf"


def refused(file: Path, content: bytes) -> UserError:
    file.write_bytes(content)
    with pytest.raises(UserError) as raised:
        header(file)
    assert str(file) in raised.value.message
    assert "\n" not in raised.value.message
    return raised.value


def read(file: Path, content: bytes) -> Header:
    file.write_bytes(content)
    return header(file)


def raw(count_of_tensors: int, count_of_pairs: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, count_of_tensors, count_of_pairs) + rest


def test_what_a_real_model_says(smollm2: Path) -> None:
    begin = time.process_time()
    found = header(smollm2)
    assert time.process_time() - begin < 0.2  # 98,000 texts are passed over
    assert found.kind == "model"
    assert found.architecture == "llama"
    assert found.context_length == 8192
    assert found.quantisation == "Q4_1"
    assert found.vocabulary == 49152
    assert found.layers == 30
    assert found.cache_bytes == 2 * 2 * 30 * 3 * 64  # keys and values, 16 bits, 3 heads of 64
    assert (found.bos, found.eos) == ("<|im_start|>", "<|im_end|>")
    assert found.chat_template.startswith("{% for message in messages %}")
    assert 0 < smollm2.stat().st_size - found.tensor_bytes < 3_000_000
    found.check_chat(smollm2)


def test_what_a_small_model_says(file: Path) -> None:
    tiny(file)
    found = header(file)
    assert (found.name, found.quantisation) == ("tiny", "F32")
    assert (found.bos, found.eos) == ("<s>", "</s>")
    assert found.chat_template == TEMPLATE
    assert found.cache_bytes == 2 * 2 * 2 * 2 * 8
    assert found.tensor_bytes == sum(
        -(-tensor.nbytes // 32) * 32 for tensor in weights(facts()).values()
    )


def test_version_2_is_read_too(file: Path) -> None:
    assert read(file, gguf(facts(), version=2)).vocabulary == 296


def test_heads_may_differ_by_layer(file: Path) -> None:
    heads = np.array([2, 0], np.int32)  # the second layer has a state instead
    found = read(file, gguf(facts(**{"llama.attention.head_count_kv": heads})))
    assert found.cache_bytes == 2 * 2 * 2 * 8


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "wrong_model", "is no GGUF file"),
        (b"PK\x03\x04 and so on", "wrong_model", "is no GGUF file"),
        (b"lmgg" + bytes(40), "wrong_model", "whisper.cpp"),
        (b"algg" + bytes(40), "wrong_model", "LoRA"),
        (b"GGUF", "bad_weights", "ends too early"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "wrong_model", "big-endian"),
        (raw(0, 0, version=1), "wrong_model", "version 1"),
        (raw(0, 0, version=4), "wrong_model", "version 4"),
        (raw(0, 2**64 - 1), "bad_weights", "too short"),
        (raw(2**63, 0), "bad_weights", "too short"),
        (raw(0, 1, struct.pack("<Q", 2**63) + bytes(20)), "bad_weights", "too short"),
        (raw(0, 1, text("k" * 65536) + bytes(20)), "bad_weights", "65536 bytes"),
        (raw(0, 1, text("k") + struct.pack("<I", 99) + bytes(9)), "bad_weights", "type 99"),
        (raw(0, 1, text("k") + struct.pack("<IIQ", 9, 4, 2**62)), "bad_weights", "too short"),
        (raw(0, 1, text("k") + struct.pack("<IIQ", 9, 8, 2**61)), "bad_weights", "too short"),
        (raw(0, 1, text("k") + struct.pack("<IIQ", 9, 9, 1) + bytes(9)), "bad_weights", "type 9"),
        (
            raw(0, 1, text("k") + struct.pack("<IIQQ", 9, 8, 1, 2**64 - 9)),
            "bad_weights",
            "ends too early",
        ),
        (raw(0, 2, pair("k", 1) + pair("k", 2)), "bad_weights", "k is there twice"),
        (raw(0, 1, pair("k", "x" * (2**20 + 1))), "bad_weights", "1048577 bytes"),
        (gguf({"general.alignment": 24}), "bad_weights", "alignment of 24"),
        (gguf({"general.alignment": "32"}), "bad_weights", "alignment of 32"),
        (gguf({"split.count": 3, "split.no": 1}), "bad_weights", "part 2 of 3"),
    ],
)
def test_what_is_no_model_is_named(file: Path, content: bytes, code: str, said: str) -> None:
    error = refused(file, content)
    assert error.code == code
    assert said in error.message


def tensor(name: str = "t", shape: tuple[int, ...] = (8,), kind: int = 0, offset: int = 0) -> bytes:
    sides = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sides + struct.pack("<IQ", kind, offset)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ([tensor(shape=(1, 1, 1, 1, 1))], "5 dimensions"),
        ([tensor(kind=4)], "unknown type 4"),
        ([tensor(kind=1000)], "unknown type 1000"),
        ([tensor(shape=(0, 8))], "impossible shape"),
        ([tensor(shape=(33,), kind=2)], "impossible shape"),
        ([tensor(shape=(2**62, 2**62))], "bytes are missing"),
        ([tensor(offset=32)], "not where it has to be"),
        ([tensor(), tensor("u", offset=0)], "not where it has to be"),
        ([tensor(), tensor(offset=32)], "t is there twice"),
        ([tensor("n" * 64)], "64 bytes"),
        ([tensor(shape=(1000,))], "last 3936 bytes are missing"),
    ],
)
def test_tensors_lie_within_the_file(file: Path, tensors: list[bytes], said: str) -> None:
    content = raw(len(tensors), 0, b"".join(tensors))
    content += bytes(-len(content) % 32) + bytes(64)
    error = refused(file, content)
    assert error.code == "bad_weights"
    assert said in error.message


@pytest.mark.parametrize(
    "values",
    [
        {"block_count": 0},
        {"block_count": 513},
        {"nextn_predict_layers": 3},
        {"expert_count": 8},
        {"expert_used_count": 2},
        {"expert_count": 2000, "expert_used_count": 2},
        {"expert_group_count": 1},
        {"expert_count": 8, "expert_used_count": 2, "expert_group_count": 3},
        {"expert_count": 8, "expert_used_count": 2, "expert_group_count": 8},
        {"rope.scaling.type": "x"},
        {"attention.layer_norm_rms_epsilon": float("nan")},
    ],
)
def test_values_that_would_end_the_process_are_refused(file: Path, values: dict[str, Any]) -> None:
    """Each of them, given to llama.cpp, was an abort."""
    found = read(file, gguf(facts(**{f"llama.{key}": value for key, value in values.items()})))
    with pytest.raises(UserError, match="an impossible llama") as raised:
        found.check_chat(file)
    assert raised.value.code == "bad_weights"


def test_a_mixture_of_experts_is_possible(file: Path) -> None:
    values = {"expert_count": 8, "expert_used_count": 2, "expert_group_count": 4,
              "expert_group_used_count": 2}  # fmt: skip
    read(file, gguf(facts(**{f"llama.{k}": v for k, v in values.items()}))).check_chat(file)


@pytest.mark.parametrize("key", ["scores", "token_type"])
def test_what_goes_with_tokens_has_as_many(file: Path, key: str) -> None:
    short = facts()
    short[f"tokenizer.ggml.{key}"] = short[f"tokenizer.ggml.{key}"][:-1]
    assert f"{key} does not go with" in refused(file, gguf(short)).message
    other = facts(**{f"tokenizer.ggml.{key}": np.zeros(296, np.uint32)})
    assert f"{key} does not go with" in refused(file, gguf(other)).message


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({"general.architecture": "clip"}, "--projector"),
        ({"general.architecture": "llama", "general.type": "mmproj"}, "--projector"),
        ({"general.architecture": "llama", "general.type": "adapter"}, "LoRA adapter"),
        ({"general.architecture": "llama", "adapter.type": "lora"}, "LoRA adapter"),
        ({"general.architecture": "llama", "general.type": "imatrix"}, "'imatrix'"),
        ({"general.architecture": "flux"}, "no language model (architecture flux)"),
        (facts(**{"llama.attention.causal": False}), "embeddings"),
        (facts(**{"llama.pooling_type": 1}), "embeddings"),
    ],
)
def test_files_for_another_purpose_are_not_for_chat(
    file: Path, pairs: dict[str, Any], said: str
) -> None:
    found = read(file, gguf(pairs))
    with pytest.raises(UserError) as raised:
        found.check_chat(file)
    assert raised.value.code == "wrong_model"
    assert said in raised.value.message


def test_a_model_is_no_projector(file: Path) -> None:
    with pytest.raises(UserError, match="is not the projector") as raised:
        read(file, gguf(facts())).check_projector(file)
    assert raised.value.code == "wrong_model"
    read(file, gguf({"general.architecture": "clip"})).check_projector(file)


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(UserError, match="No such file") as raised:
        header(file)
    assert raised.value.code == "unknown_model"


def test_a_file_cut_off_anywhere_is_refused(file: Path) -> None:
    pairs = {"general.architecture": "llama", "k": "text", "a": ["x", "yz"], "n": 1,
             "f": np.zeros(3, np.float32)}  # fmt: skip
    whole = gguf(pairs, {"t": np.zeros((2, 8), np.float32)})
    read(file, whole)
    for end in range(len(whole)):
        refused(file, whole[:end])


def test_no_change_of_a_byte_does_worse_than_refuse(file: Path) -> None:
    """Nothing but UserError, and no more memory than a small file's worth."""
    whole = bytearray(gguf(facts(), {"t": np.zeros((2, 8), np.float32)}))
    draw = random.Random(0)
    telling = [0, 1, 0x7F, 0x80, 0xFF]
    tracemalloc.start()
    outcomes = {True: 0, False: 0}
    for _ in range(400):
        hostile = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            # where the numbers are that say how much follows
            at = draw.choice([draw.randrange(len(whole)), draw.randrange(1200)])
            hostile[at] = draw.choice(telling) if draw.random() < 0.7 else draw.randrange(256)
        file.write_bytes(hostile)
        try:
            header(file).check_chat(file)
            outcomes[True] += 1
        except UserError:
            outcomes[False] += 1
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert min(outcomes.values()) > 20
    assert most < 4 * len(whole) + 1_000_000


def test_a_vocabulary_of_150000_takes_no_time(file: Path) -> None:
    tokens = [f"token{number}" for number in range(150_000)]
    file.write_bytes(gguf({"general.architecture": "llama", "tokenizer.ggml.tokens": tokens,
                           "tokenizer.ggml.merges": tokens,
                           "tokenizer.ggml.eos_token_id": 149_999}))  # fmt: skip
    begin = time.process_time()
    assert header(file).eos == "token149999"
    assert time.process_time() - begin < 0.2
