"""Answers of a real model and of a small random one: beside llama-cpp-python's own, and alone."""

import ctypes
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
from gguf_files import facts, gguf, tiny, weights

from mediakit.engines.llama.candidates import CANDIDATE
from mediakit.engines.llama.engine import load
from mediakit.engines.llama.fit import Fit
from mediakit.engines.llama.model import Llama
from mediakit.engines.llama.request import Message, Request, Sampling
from mediakit.errors import ItemError, Stopped, UserError

GREEDY = Sampling(temperature=0)
SYSTEM = "You are a helpful assistant who answers in one short sentence."


def ask(text: str, system: str | None = None, **more: Any) -> Request:
    messages = [Message("system", system)] if system else []
    settings: dict[str, Any] = {"sampling": GREEDY, "max_tokens": 12, **more}
    return Request((*messages, Message("user", text)), **settings)


class Theirs:
    """llama-cpp-python, as its own documentation uses it."""

    def __init__(self, file: Path, context: int) -> None:
        self.model = llama_cpp.Llama(
            str(file), n_ctx=context, n_threads=1, n_threads_batch=1, verbose=False
        )

    def __call__(self, request: Request) -> str:
        s = request.sampling
        self.model.reset()
        self.model._ctx.kv_cache_clear()
        answer = self.model.create_chat_completion(
            [{"role": m.role, "content": m.content} for m in request.messages],  # type: ignore[misc]
            temperature=s.temperature, top_p=s.top_p, top_k=s.top_k, min_p=s.min_p,
            repeat_penalty=s.repeat_penalty, frequency_penalty=s.frequency_penalty,
            presence_penalty=s.presence_penalty, seed=s.seed, max_tokens=request.max_tokens,
            stop=list(request.stop),
        )  # fmt: skip
        return str(answer["choices"][0]["message"]["content"])  # type: ignore[index]


@pytest.fixture(scope="module")
def theirs(smollm2_file: Path) -> Theirs:
    return Theirs(smollm2_file, 1024)


@pytest.mark.parametrize(
    "request_",
    [
        ask("What is the capital of France?", max_tokens=24),
        ask("Write a haiku about rain.", SYSTEM, max_tokens=24),
        ask("Zähle auf Deutsch bis fünf.", sampling=Sampling(temperature=0, repeat_penalty=1.3)),
        ask("Name a colour.", sampling=Sampling(temperature=1.2, seed=7, presence_penalty=0.5)),
        ask("Count to ten.", stop=("4", "nine"), max_tokens=24),
    ],
    ids=lambda request: request.messages[-1].content,
)
def test_the_text_is_llama_cpp_pythons(smollm2: Llama, theirs: Theirs, request_: Request) -> None:
    smollm2.forget()
    assert smollm2.reply(request_).text == theirs(request_)


def test_a_shared_beginning_is_evaluated_once(smollm2: Llama) -> None:
    smollm2.forget()
    first = smollm2.reply(ask("What is the capital of France?", SYSTEM, max_tokens=4))
    second = smollm2.reply(ask("What is the capital of Spain?", SYSTEM, max_tokens=4))
    assert first.cached_tokens == 0
    assert second.cached_tokens > smollm2.count(SYSTEM)
    assert second.cached_tokens < second.prompt_tokens
    smollm2.forget()
    again = smollm2.reply(ask("What is the capital of Spain?", SYSTEM, max_tokens=4))
    assert (again.text, again.cached_tokens) == (second.text, 0)


def test_the_same_seed_is_the_same_text_whatever_came_before(small: Llama) -> None:
    request = ask("go", sampling=Sampling(temperature=1.5, seed=3), max_tokens=20)
    first = small.reply(request)
    small.reply(ask("something else", sampling=Sampling(temperature=1.5, seed=4)))
    assert small.reply(request).text == first.text
    other = ask("go", sampling=Sampling(temperature=1.5, seed=5), max_tokens=20)
    assert small.reply(other).text != first.text


def test_pieces_add_up_to_the_text(smollm2: Llama) -> None:
    pieces: list[str] = []
    reply = smollm2.reply(ask("Write 🎉 and 🌧 and é.", max_tokens=16), pieces.append)
    assert "".join(pieces) == reply.text
    assert len([piece for piece in pieces if piece]) > 3


def test_the_facts_of_a_reply(smollm2: Llama) -> None:
    reply = smollm2.reply(ask("What is the capital of Germany?", max_tokens=3))
    assert (reply.finish_reason, reply.completion_tokens) == ("length", 3)
    assert reply.prompt_tokens == 37
    assert reply.seconds > 0 and reply.first_token_seconds > 0
    assert reply.probabilities is None and reply.warnings == ()
    ended = smollm2.reply(ask("What is the capital of Germany?", max_tokens=30))
    assert (ended.text, ended.finish_reason) == ("The capital of Germany is Berlin.", "stop")


def test_the_end_is_put_off_until_min_tokens(smollm2: Llama) -> None:
    reply = smollm2.reply(ask("What is the capital of Germany?", min_tokens=12, max_tokens=14))
    assert reply.text.startswith("The capital of Germany is Berlin.")
    assert 12 <= reply.completion_tokens <= 14


def test_every_token_that_ends_a_turn_ends_it(tmp_path: Path) -> None:
    """Not only the one that the header calls eos."""
    pairs = facts()
    for name in ("</s>", "<|im_end|>", "<|eot_id|>"):
        tensors = weights(pairs)
        tensors["output.weight"][:] = 0
        # more or less probable than all others, by the sign of what is summed up
        tensors["output.weight"][pairs["tokenizer.ggml.tokens"].index(name)] = 1
        path = tmp_path / "a.gguf"
        path.write_bytes(gguf(pairs, tensors))
        model = load(path, Fit("cpu", 1))
        asked = [Request(raw=text, sampling=GREEDY, max_tokens=3) for text in "abcdefgh"]
        replies = [model.reply(request) for request in asked]
        model.close()
        ended = [reply for reply in replies if reply.finish_reason == "stop"]
        assert ended, name
        assert {reply.text for reply in ended if reply.completion_tokens == 0} == {""}


def test_a_full_context_ends_the_answer(small: Llama) -> None:
    text = "a" * 480
    reply = small.reply(Request(raw=text, sampling=GREEDY, max_tokens=100, min_tokens=100))
    assert reply.finish_reason == "length"
    assert reply.prompt_tokens + reply.completion_tokens == small.context_length == 512


def test_a_prompt_that_does_not_fit_gives_both_numbers(small: Llama) -> None:
    with pytest.raises(ItemError, match=r"has 600 tokens, and the context holds 512") as raised:
        small.reply(Request(raw="a" * 600, sampling=GREEDY))
    assert raised.value.code == "context_too_long"
    assert small.reply(Request(raw="a", sampling=GREEDY, max_tokens=2)).prompt_tokens == 1


def test_what_emit_raises_passes_and_the_model_goes_on(small: Llama) -> None:
    expected = small.reply(ask("go", max_tokens=8, min_tokens=8)).text
    calls = []

    def emit(text: str) -> None:
        calls.append(text)
        if len(calls) == 4:
            raise Stopped

    with pytest.raises(Stopped):
        small.reply(ask("go on", max_tokens=8, min_tokens=8), emit)
    assert small.reply(ask("go", max_tokens=8, min_tokens=8)).text == expected


def test_a_long_prompt_can_be_stopped_between_batches(tiny_file: Path) -> None:
    model = load(tiny_file, Fit("cpu", 1, None, 2048))
    calls = []

    def emit(text: str) -> None:
        calls.append(text)
        raise Stopped

    with pytest.raises(Stopped):
        model.reply(Request(raw="a" * 1500), emit)
    assert calls == [""]
    # the first batch stays
    assert model.reply(Request(raw="a" * 1500, max_tokens=1)).cached_tokens == 512
    model.close()


def test_a_context_longer_than_trained_warns(tiny_file: Path) -> None:
    model = load(tiny_file, Fit("cpu", 1, None, 1024))
    reply = model.reply(Request(raw="a", max_tokens=1))
    assert "trained for a context of 512 tokens, not 1024" in reply.warnings[0]
    model.close()


def test_a_context_without_room_is_refused(tiny_file: Path) -> None:
    with pytest.raises(UserError, match="GiB are free; lower --context-length") as raised:
        load(tiny_file, Fit("cpu", 1, None, 2**31 - 256))
    assert raised.value.code == "over_budget"


def test_layers_on_a_gpu_need_one(tiny_file: Path) -> None:
    with pytest.raises(UserError, match="leave --gpu-layers out") as raised:
        load(tiny_file, Fit("cpu", 1, 4, None))
    assert raised.value.code == "bad_device"


@pytest.mark.skipif(llama_cpp.llama_supports_gpu_offload(), reason="this llama.cpp has GPUs")
def test_a_gpu_that_llama_cpp_can_not_use_is_named(tiny_file: Path) -> None:
    with pytest.raises(UserError, match=r"cuda:0 .* built for the CPU alone.*GGML_CUDA") as raised:
        load(tiny_file, Fit("cuda:0", 1))
    assert raised.value.code == "bad_device"


def test_what_llama_cpp_refuses_says_why(tmp_path: Path, capfd: Any) -> None:
    pairs = facts()
    tensors = weights(pairs)
    del tensors["blk.1.ffn_up.weight"]
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf(pairs, tensors))
    with pytest.raises(UserError, match=r"blk\.1\.ffn_up\.weight' not found") as raised:
        load(path, Fit("cpu", 1))
    assert raised.value.code == "bad_weights"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "asked",
    [
        Request(raw="a", sampling=GREEDY),
        Request(raw="a", sampling=Sampling(temperature=0.8)),
        Request(raw="a", sampling=GREEDY, min_tokens=2),
    ],
)
@pytest.mark.parametrize("broken", ["all", "one token's"])
def test_a_model_of_broken_numbers_is_named(tmp_path: Path, asked: Request, broken: str) -> None:
    pairs = facts()
    tensors = weights(pairs)
    if broken == "all":
        tensors["output_norm.weight"] = np.full(32, np.nan, np.float32)
    else:
        tensors["output.weight"][5] = np.nan
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf(pairs, tensors))
    model = load(path, Fit("cpu", 1))
    with pytest.raises(ItemError, match="computes no numbers"):
        model.reply(asked)
    model.close()


def test_nothing_is_written_to_standard_error(tiny_file: Path, capfd: Any) -> None:
    model = load(tiny_file, Fit("cpu", 1))
    model.reply(Request(raw="a", max_tokens=2))
    model.close()
    assert capfd.readouterr() == ("", "")


def test_a_base_model_answers_bare_prompts_only(tmp_path: Path) -> None:
    pairs = {k: v for k, v in facts().items() if k != "tokenizer.chat_template"}
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf(pairs, weights(pairs)))
    model = load(path, Fit("cpu", 1))
    assert model.reply(Request(raw="ab", max_tokens=1)).prompt_tokens == 2
    with pytest.raises(UserError, match="--raw") as raised:
        model.reply(ask("hi"))
    assert raised.value.code == "no_template"
    model.close()


def test_variables_reach_the_template(tmp_path: Path) -> None:
    template = "{% if enable_thinking is false %}no {% endif %}{{ messages[0]['content'] }}"
    model = load(tiny(tmp_path / "a.gguf", **{"tokenizer.chat_template": template}),
                 Fit("cpu", 1))  # fmt: skip
    assert model.reply(ask("ab", max_tokens=1)).prompt_tokens == 2
    told = ask("ab", max_tokens=1, variables={"enable_thinking": False})
    assert model.reply(told).prompt_tokens == model.count("no ab")
    model.close()


def test_bos_is_put_first_once(tmp_path: Path) -> None:
    path = tiny(tmp_path / "a.gguf", **{"tokenizer.ggml.add_bos_token": True})
    model = load(path, Fit("cpu", 1))
    assert model.reply(Request(raw="ab", max_tokens=1)).prompt_tokens == 3
    assert model.reply(Request(raw="<s>ab", max_tokens=1)).prompt_tokens == 3
    model.close()


def test_bytes_that_are_no_text_never_come_out(small: Llama) -> None:
    """The random model writes random bytes."""
    for seed in range(20):
        pieces: list[str] = []
        wild = Sampling(temperature=3.0, top_k=0, top_p=1.0, min_p=0.0, seed=seed)
        reply = small.reply(ask("go", sampling=wild, max_tokens=30, min_tokens=30), pieces.append)
        assert "".join(pieces) == reply.text
        reply.text.encode()  # no surrogates
        assert reply.completion_tokens == 30


def test_memory_is_given_back(tiny_file: Path) -> None:
    model = load(tiny_file, Fit("cpu", 1))
    assert model.nbytes >= tiny_file.stat().st_size - 20_000
    model.close()
    model.close()  # twice is once


def test_candidates_are_rows_as_llama_cpp_has_them() -> None:
    """They are handed over as an array of numpy's."""
    theirs = llama_cpp.llama_token_data
    assert ctypes.sizeof(theirs) == CANDIDATE.itemsize
    for name in ("id", "logit", "p"):
        assert CANDIDATE.fields[name][1] == getattr(theirs, name).offset
