"""Chat templates, which strangers write: what they may say, and all that they may not do."""

import datetime
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mediakit.engines.llama import renderer
from mediakit.engines.llama.renderer import Limits
from mediakit.engines.llama.templates import LEFT_OUT, MERGED, ChatTemplate
from mediakit.errors import ItemError, UserError

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# What templates in use are made of: macros, namespaces, loop controls, slices, JSON, the date.
RICH = """\
{#- a comment -#}
{%- macro shown(value) -%}
    {%- if value is mapping %}{{ value | tojson(indent=2) }}{% else %}{{ value | trim }}{% endif -%}
{%- endmacro %}
{{- bos_token }}
{%- set state = namespace(last=none, turns=0) %}
{%- if tools is not none and tools %}{{ raise_exception("no tools here") }}{% endif %}
{%- if strftime_now is defined %}
    {%- set today = strftime_now("%d %b %Y") %}
{%- endif %}
{{- "Date: " + today + "\\n" + shown({"a": "<b>", "c": [1, 2.5, none, "ü"]}) + "\\n" }}
{%- for message in messages %}
    {%- if message.role == "tool" %}{% continue %}{% endif %}
    {%- set state.turns = state.turns + 1 %}
    {%- if message.role == "assistant" %}
        {%- generation %}
        {{- "[a]" + message.content.split("</think>")[-1].lstrip("\\n") + eos_token }}
        {%- endgeneration %}
    {%- else %}
        {{- "[" ~ message.role[0] ~ state.turns ~ "]" ~ shown(message.content) }}
    {%- endif %}
    {%- set state.last = message.role %}
{%- endfor %}
{%- if add_generation_prompt and state.last != "assistant" %}
    {{- "[a]" }}
    {%- if enable_thinking is defined and not enable_thinking %}{{ "<think></think>" }}{% endif %}
{%- endif %}
"""
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    "{{ '<' + m.role + '>' + m.content | trim }}{% endfor %}"
)
PARTS_ONLY = (
    "{% for m in messages %}{{ m.role }}:{% for part in m.content %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %};{% endfor %}"
)
ASKED = [{"role": "user", "content": "Is <this> & ü fine?\n"}]
BRIEFED = [{"role": "system", "content": "Be brief."}, *ASKED]
TALK = [
    *BRIEFED,
    {"role": "assistant", "content": "<think>hm</think>\nYes."},
    {"role": "user", "content": " And now?"},
]

Make = Callable[..., ChatTemplate]
Children = Callable[[], list[psutil.Process]]


@pytest.fixture
def children() -> Children:
    """Those begun since the test did."""
    before = set(psutil.Process().children())
    return lambda: [each for each in psutil.Process().children() if each not in before]


@pytest.fixture
def template() -> Iterator[Make]:
    made: list[ChatTemplate] = []

    def make(source: str, **limits: Any) -> ChatTemplate:
        made.append(ChatTemplate(source, "<s>", "</s>", Limits(**limits)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("source", [CHATML, RICH])
@pytest.mark.parametrize("messages", [ASKED, BRIEFED, TALK])
def test_text_is_that_of_transformers(
    template: Make, source: str, messages: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import chat_template_utils

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(2024, 7, 26)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    (wanted,), _ = chat_template_utils.render_jinja_template(
        [messages],
        chat_template=source,
        add_generation_prompt=True,
        bos_token="<s>",
        eos_token="</s>",
        enable_thinking=False,
    )
    warnings: list[str] = []
    made = template(source)
    assert made.render(messages, warn=warnings.append, enable_thinking=False) == wanted
    assert made.render(messages, add_generation_prompt=False) != wanted
    assert warnings == []


def test_the_same_text_on_any_day(template: Make) -> None:
    assert template("{{ strftime_now('%Y-%m-%d') }}").render([]) == "2024-07-26"
    for source in ("{{ lipsum() }}", "{{ [1, 2] | random }}"):
        with pytest.raises((UserError, ItemError)):
            template(source).render([])


def test_refused_system_prompt_goes_to_the_user(template: Make) -> None:
    warnings: list[str] = []
    made = template(NO_SYSTEM)
    assert made.render(BRIEFED, warn=warnings.append) == (
        "<s><user>Be brief.\n\nIs <this> & ü fine?"
    )
    assert warnings == [MERGED]
    assert made.render(TALK).endswith("<assistant><think>hm</think>\nYes.<user>And now?")


def test_dropped_system_prompt_goes_to_the_user(template: Make) -> None:
    warnings: list[str] = []
    made = template(
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    )
    assert made.render(BRIEFED, warn=warnings.append) == "Be brief.\n\nIs <this> & ü fine?\n"
    assert warnings == [MERGED]


def test_refusal_is_quoted(template: Make) -> None:
    twice = [*ASKED, *ASKED]
    with pytest.raises(ItemError, match="Conversation roles must alternate") as caught:
        template(NO_SYSTEM).render(twice)
    assert caught.value.code == "messages_refused"
    with pytest.raises(ItemError, match="roles must alternate"):  # the reason that is left
        template(NO_SYSTEM).render([BRIEFED[0], *twice])


def test_contents_become_parts_where_only_those_are_read(template: Make) -> None:
    warnings: list[str] = []
    made = template(PARTS_ONLY)
    for _ in range(2):
        assert made.render(BRIEFED, warn=warnings.append) == (
            "system:Be brief.;user:Is <this> & ü fine?\n;"
        )
    assert warnings == []


def test_a_name_is_no_template(template: Make) -> None:
    warnings: list[str] = []
    assert template("chatml").render(ASKED, warn=warnings.append) == "chatml"
    assert warnings == [LEFT_OUT]


@pytest.mark.parametrize("source", ["", " \n"])
def test_no_template(source: str) -> None:
    with pytest.raises(UserError, match="--raw") as caught:
        ChatTemplate(source, "", "")
    assert caught.value.code == "no_template"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% if %}", "line 1: Expected an expression"),
        ("a\n{{ x", "line 2: unexpected end of template"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ 1 | nothing }}", "No filter named 'nothing'"),
        ("{{" + "(" * 100_000 + "1" + ")" * 100_000 + "}}", "RecursionError"),
    ],
)
def test_template_that_does_not_compile(template: Make, source: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        template(source).render(ASKED)
    assert caught.value.code == "bad_template"
    assert words in caught.value.message


HOSTILE = {
    "{{ ''.__class__.__mro__ }}": "unsafe",
    "{{ ().__class__.__base__.__subclasses__() }}": "unsafe",
    "{{ cycler.__init__.__globals__.os.system('id') }}": "unsafe",
    "{{ dict.__subclasses__() }}": "unsafe",
    "{{ '{0.__class__.__mro__[1]}'.format(1).x.y }}": "unsafe",
    "{{ (messages|attr('__class__')).x.y }}": "unsafe",
    "{{ messages.append(1) }}": "unsafe",
    "{% set _ = messages[0].update(a=1) %}": "unsafe",
    "{{ 'a'.encode('zlib') }}": "Too many open files",
    "{{ open('/etc/passwd').read() }}": "'open' is undefined",
    "{% include '/etc/passwd' %}": "no loader",
    "{% import 'os' as os %}{{ os }}": "no loader",
    "{{ nothing.there }}": "'nothing' is undefined",
    "{% for i in range(10**9) %}{% endfor %}": "Range too big",
    "{{ 'a' * 10**10 }}": "too much memory",
    "{{ [0] * 10**9 }}": "too much memory",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "calls itself without end",
}


@pytest.fixture(scope="module")
def hostile() -> Iterator[ChatTemplate]:
    """All of HOSTILE in one: the message says which."""
    cases = "".join(f"{{% elif which == '{at}' %}}{each}" for at, each in enumerate(HOSTILE))
    head = "{% set which = messages[0].content %}{% if which == '' %}"
    made = ChatTemplate(f"{head}{cases}{{% else %}}fine: {{{{ which }}}}{{% endif %}}", "", "")
    yield made
    made.close()


@pytest.mark.parametrize("source", HOSTILE)
def test_hostile_template(hostile: ChatTemplate, source: str) -> None:
    with pytest.raises(ItemError) as caught:
        hostile.render([{"role": "user", "content": str(list(HOSTILE).index(source))}])
    assert caught.value.code == "bad_template"
    assert HOSTILE[source] in caught.value.message
    assert len(caught.value.message.splitlines()) == 1
    assert hostile.render([{"role": "user", "content": "you"}]) == "fine: you"


def test_output_is_bounded(template: Make) -> None:
    endless = template("{% for a in range(99999) %}{{ 'ab' * 999 }}{% endfor %}", characters=10**6)
    with pytest.raises(ItemError, match="more than 1000000 characters"):
        endless.render(ASKED)


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def test_work_is_bounded(template: Make) -> None:
    made = template(
        "{% if messages[0].content == 'loop' %}" + LOOP + "{% endif %}ok", cpu_seconds=1
    )
    with pytest.raises(ItemError, match="worked for more than 1 s"):
        made.render([{"role": "user", "content": "loop"}])
    assert made.render(ASKED) == "ok"  # by a new child


def test_time_is_bounded_where_nothing_works(template: Make, children: Children) -> None:
    made = template(CHATML, wall_seconds=1.0)
    made.render(ASKED)
    (child,) = children()
    child.suspend()
    with pytest.raises(ItemError, match="longer than 1 s"):
        made.render(ASKED)
    assert not child.is_running()


def test_messages_larger_than_a_pipe_to_a_child_that_never_reads(template: Make) -> None:
    made = template("{{ 10 ** (10 ** 10) }}", cpu_seconds=1)  # which the compiler works out
    with pytest.raises(UserError, match="worked for more than 1 s"):
        made.render([{"role": "user", "content": "x" * 300_000}])


def test_large_and_odd_text(template: Make) -> None:
    said = "ä\ud800\x00\u2028" * 300_000
    assert said in template(CHATML).render([{"role": "user", "content": said}])


def test_one_child_for_many_and_none_left(template: Make, children: Children) -> None:
    made = template(CHATML)
    made.render(ASKED)
    (child,) = children()
    threads = [threading.Thread(target=made.render, args=(TALK,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert children() == [child]
    assert child.environ().keys() <= {"LD_LIBRARY_PATH", "SYSTEMROOT"}
    before = len(os.listdir("/proc/self/fd"))
    made.close()
    assert children() == []
    assert len(os.listdir("/proc/self/fd")) == before - 2


def test_forgotten_template_takes_its_child_along(children: Children) -> None:
    made = ChatTemplate(CHATML, "", "")
    made.start()
    assert len(children()) == 1
    del made
    assert children() == []


def test_other_children_hold_no_pipe_of_it(template: Make, children: Children) -> None:
    command = ["ls", "/proc/self/fd"]
    before = subprocess.run(command, capture_output=True, check=True, close_fds=False).stdout
    template(CHATML).start()
    assert len(children()) == 1
    after = subprocess.run(command, capture_output=True, check=True, close_fds=False).stdout
    assert after == before


@pytest.mark.parametrize("source", [CHATML, LOOP])
def test_child_ends_with_a_parent_that_was_killed(source: str, tmp_path: Path) -> None:
    code = (
        "import sys, time, threading\n"
        "from mediakit.engines.llama.templates import ChatTemplate, Limits\n"
        f"made = ChatTemplate({source!r}, '', '', Limits(cpu_seconds=1))\n"
        "made.start()\n"
        "asked = [{'role': 'user', 'content': 'x'}]\n"
        "threading.Thread(target=made.render, args=(asked,), daemon=True).start()\n"
        "print('on', flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"on\n"
    (child,) = psutil.Process(parent.pid).children()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=15)
    assert alive == []


def test_start_returns_at_once(template: Make) -> None:
    made = template(CHATML)
    began = time.perf_counter()
    made.start()
    started = time.perf_counter() - began
    made.render(ASKED)
    assert started < (time.perf_counter() - began) / 2


def test_a_child_that_was_prepared_is_taken_unless_it_died(
    template: Make, children: Children
) -> None:
    renderer.prepare()
    (spare,) = children()
    made = template("{{ messages[0].content }}")
    assert made.render([{"role": "user", "content": "hi"}]) == "hi"
    assert children() == [spare]
    made.close()
    renderer.prepare()
    (dead,) = children()
    dead.kill()
    dead.wait()
    again = template("{{ messages[0].content }}")
    assert again.render([{"role": "user", "content": "hi"}]) == "hi"
    again.close()
    renderer.prepare()
    renderer.dismiss()
    assert children() == []
