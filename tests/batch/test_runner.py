"""How a batch flows, and what an accident of one item does to the others."""

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from toys.shell import Shell, eventually
from toys.task import Text, Toy, ToyExecution, ToyParams

from mediakit.batch import runner as runner_module
from mediakit.batch.events import Event, Finished
from mediakit.batch.feed import ListFeed, StreamFeed
from mediakit.batch.item import Decoded, Item, Source
from mediakit.batch.ledger import Ledger
from mediakit.batch.output import output_for
from mediakit.batch.plan import Planner
from mediakit.batch.recipes import Job
from mediakit.batch.runner import Runner
from mediakit.batch.stop import Stop
from mediakit.errors import ExitStatus, OutOfMemory, Stopped, UserError
from mediakit.models.cache import ModelCache
from mediakit.models.store import Store
from mediakit.params import Batch, option


def steps(log: Path, step: str) -> list[str]:
    return [line.split()[1] for line in log.read_text().splitlines() if line.split()[0] == step]


# accidents of one item


def test_unknown_exception_fails_its_item_only(shell: Shell) -> None:
    shell.inputs(6)
    done = shell.batch("--json", "--fail", "i002")
    assert [r["status"] for r in done.records] == ["done"] * 2 + ["failed"] + ["done"] * 3
    error = done.records[2]["error"]
    assert error["code"] == "failed"
    assert error["message"] == "in/i002.txt: RuntimeError: broken (-v shows where)"
    assert (done.status, done.codes) == (1, ["failed"])
    assert "Traceback" not in done.stderr
    assert "in compute" in shell.batch("--fail", "i002", "-v").stderr


@pytest.mark.parametrize("items", [1, 2, 4, 7])
def test_one_of_a_batch_fails(shell: Shell, items: int) -> None:
    shell.inputs(9)
    done = shell.batch("--fail", "i004", "--items", items)
    assert (done.status, done.codes) == (1, ["failed"])
    expected = shell.expected()
    del expected["i004.txt"]
    assert shell.outputs() == expected
    assert done.lines == [f"out/{name}" for name in sorted(expected)]


def test_broken_inputs(shell: Shell) -> None:
    names = shell.inputs(4)
    folder = shell.folder / "in"
    (folder / names[1]).write_bytes(b"")
    (folder / names[2]).unlink()
    (folder / names[2]).symlink_to("nowhere")
    os.mkfifo(folder / "pipe.txt")
    done = shell.batch("--json")
    assert [(r["error"] or {}).get("code") for r in done.records] == [
        None, "empty_file", "broken_link", None, "not_a_file",
    ]  # fmt: skip
    assert done.status == 1


def test_fault_of_the_place_stops_all(shell: Shell) -> None:
    shell.inputs(30)
    done = shell.batch("--lost", "i004")
    assert (done.status, done.codes) == (1, ["device_lost"])
    assert list(shell.outputs()) == [f"i{n:03}.txt" for n in range(4)] or len(shell.outputs()) == 4
    assert not any(line["t"] == "failed" for line in shell.journal())
    assert shell.batch().status == 0
    assert shell.outputs() == shell.expected()


def test_fail_fast(shell: Shell) -> None:
    shell.inputs(60)
    done = shell.batch("--fail-fast", "--fail", "i004")
    assert (done.status, done.codes) == (1, ["failed"])
    assert len(shell.outputs()) < 10
    # and over items that fail before they are computed
    assert shell.batch("--fail-fast", "--corrupt", "i050").status == 1


def test_bad_model_is_status_2_and_nothing_is_half_done(shell: Shell) -> None:
    shell.inputs(9)
    done = shell.batch("--model", "bad")
    assert (done.status, done.codes) == (2, ["bad_weights"])
    assert shell.outputs() == {}
    assert shell.leftovers() == []
    started = {line["key"] for line in shell.journal() if line["t"] == "start"}
    stopped = {line["key"] for line in shell.journal() if line["t"] == "stop"}
    assert started <= stopped
    assert shell.batch("--device", "none").codes == ["bad_device"]
    again = shell.batch()
    assert (again.status, again.codes) == (0, [])


@pytest.mark.parametrize("items", [1, 4])
def test_bad_model_of_a_row_fails_its_item(shell: Shell, items: int) -> None:
    shell.inputs(4)
    rows = [
        '{"input": "in/i000.txt"}',
        '{"input": "in/i001.txt", "model": "bad"}',
        '{"input": "in/i002.txt", "times": 2}',
        '{"input": "in/i003.txt", "tims": 2}',
    ]
    (shell.folder / "list.jsonl").write_text("\n".join(rows))
    args = ("--from", "list.jsonl", "-o", "out", "--json", "--items", items)
    done = shell.run(*args)
    assert done.status == 1
    codes = [(r["error"] or {}).get("code") for r in done.records]
    assert codes == [None, "bad_weights", None, "bad_row"]
    assert shell.run(*args, "--device", "none", "--force").status == 2  # that is everybody's


# out of memory


def test_batch_is_split_and_stays_small(shell: Shell) -> None:
    shell.inputs(16)
    log = shell.folder / "log"
    done = shell.batch("--items", 8, "--oom", "i005", "--steps", 1, "--log", log, "--json")
    assert (done.status, done.codes) == (0, []), done.stderr
    assert shell.outputs() == shell.expected()
    attempts = done.records[5]["attempts"]
    assert [a["code"] for a in attempts] == ["out_of_memory"] * len(attempts)
    assert attempts[-1]["then"] == "step 1"
    assert done.records[5]["execution"] == {"steps": 1}
    assert done.records[15]["attempts"] == []
    assert steps(log, "compute/1")[-4:] == [f"i{n:03}" for n in range(12, 16)]


def test_steps_down_until_it_fits(shell: Shell) -> None:
    shell.inputs(4)
    done = shell.batch("--oom", "i001", "--steps", 3, "--json")
    assert [a["then"] for a in done.records[1]["attempts"]] == ["step 1", "step 2", "step 3"]
    assert done.status == 0
    assert done.stderr.count("out of memory: step") == 3


def test_fails_when_there_is_no_smaller_way(shell: Shell) -> None:
    shell.inputs(4)
    done = shell.batch("--oom", "i001", "--json")
    assert [r["status"] for r in done.records] == ["done", "failed", "done", "done"]
    assert done.records[1]["error"]["code"] == "out_of_memory"
    assert done.status == 1


# in one process, with a task of one's own


Run = Callable[..., list[Event]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a batch of `names` with a task; the events. A stream if `names` is an iterator."""

    def run(task: type[Toy], names: Any, stop: Any = None, **batch: Any) -> list[Event]:
        options = Batch(out=tmp_path / "out", **batch)
        output = output_for(options.out, False, frozenset())
        planner = Planner(Job(task, task.Params(), (), options), output)
        sources = (
            name if isinstance(name, Source) else Source(name, os.path.basename(name))
            for name in names
        )
        feed = (
            ListFeed(planner.items(sources))
            if isinstance(names, list)
            else StreamFeed(planner.stream(sources))
        )
        store = Store(tmp_path / "models", offline=True)
        worker = task(ToyExecution(), store, ModelCache(None, lambda d: 0, lambda d: None))
        events: list[Event] = []
        ledger = Ledger(output, task, options)
        Runner(worker, ledger, events.append, Stop() if stop is None else stop).run(feed)
        return events

    return run


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    found = [str(tmp_path / f"i{number:03}.txt") for number in range(40)]
    for name in found:
        Path(name).write_text(name)
    return found


def finished(events: list[Event]) -> list[str]:
    return [e.item.source.path for e in events if isinstance(e, Finished)]


def test_order_of_results_is_that_of_inputs(run: Run, names: list[str]) -> None:
    class Jitter(Toy):
        def decode(self, item: Item) -> Decoded:
            time.sleep(hash(item.key) % 5 / 1000)
            return super().decode(item)

        def encode(self, item: Item, media: Text, file: Path) -> Any:
            time.sleep(hash(item.key) % 7 / 1000)
            return super().encode(item, media, file)

    assert finished(run(Jitter, names[::2])) == names[::2]
    assert finished(run(Jitter, names)) == names  # skipped and done, mixed


@pytest.mark.parametrize("slow", [0, 5])
def test_bytes_in_memory_are_bounded(
    run: Run, names: list[str], monkeypatch: pytest.MonkeyPatch, slow: int
) -> None:
    """With items of 100 MB: what is decoded and not computed, computed and not written."""
    hundred = 100 << 20
    monkeypatch.setattr(runner_module, "BYTES_AHEAD", 250 << 20)
    alive = {"decoded": 0, "computed": 0}
    most = dict(alive)
    lock = threading.Lock()

    def count(kind: str, change: int) -> None:
        with lock:
            alive[kind] += change
            most[kind] = max(most[kind], alive[kind])

    class Big(Toy):
        def decode(self, item: Item) -> Decoded:
            if item.source.path == names[slow]:
                time.sleep(0.05)  # those after it are decoded first
            decoded = super().decode(item)
            count("decoded", 1)
            return Decoded(Text(decoded.media.text, hundred), decoded.inputs)

        def compute(self, batch: Any, emit: Any) -> list[Text]:
            results = super().compute(batch, emit)
            count("decoded", -1)
            count("computed", 1)
            return [Text(result.text, hundred) for result in results]

        def encode(self, item: Item, media: Text, file: Path) -> Any:
            time.sleep(0.01)
            made = super().encode(item, media, file)
            count("computed", -1)
            return made

    assert finished(run(Big, names)) == names
    # three fill it; one a decoding thread may be on its way, and one that all wait for
    assert 2 <= most["decoded"] <= 3 + runner_module.THREADS + 1
    assert 2 <= most["computed"] <= 3 + 1


def test_device_waits_for_nobody(run: Run, names: list[str]) -> None:
    """Decoding, computing and encoding that take as long each: overlapped, not in turn."""
    in_flight: list[str] = []
    seen: set[frozenset[str]] = set()

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        in_flight.append(name)
        for _ in range(5):
            time.sleep(0.002)
            seen.add(frozenset(in_flight))
        yield
        in_flight.remove(name)

    class Even(Toy):
        def decode(self, item: Item) -> Decoded:
            with stage("decode"):
                return super().decode(item)

        def compute(self, batch: Any, emit: Any) -> list[Text]:
            with stage("compute"):
                return super().compute(batch, emit)

        def encode(self, item: Item, media: Text, file: Path) -> Any:
            with stage("encode"):
                return super().encode(item, media, file)

    run(Even, names)
    assert frozenset({"decode", "compute", "encode"}) in seen


class Single(Toy):
    """Four at once, each of which has its result as soon as it is made: the last one first."""

    made: ClassVar[list[str]]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.batch_size = 4

    def compute(self, batch: Any, emit: Any) -> Iterator[tuple[int, Any]]:  # type: ignore[override]
        for number, work in reversed(list(enumerate(batch))):
            self.made.append(Path(work[0].source.path).stem)
            yield number, super().compute([work], emit)[0]
            self.after(batch)

    def after(self, batch: Any) -> None:
        return


def test_what_comes_one_by_one_is_written_while_the_others_are_made(
    run: Run, names: list[str], tmp_path: Path
) -> None:
    seen: list[int] = []

    class Watching(Single):
        made: ClassVar[list[str]] = []

        def after(self, batch: Any) -> None:
            last = tmp_path / "out" / f"{self.made[-1]}.txt"
            eventually(last.exists)
            seen.append(len(batch))

    events = run(Watching, names[:6])
    assert finished(events) == names[:6]  # told in order all the same
    assert len(seen) == 6 and max(seen) > 1
    records = [e.record for e in events if isinstance(e, Finished)]
    assert all(record and record["seconds"]["compute"] >= 0 for record in records)


@pytest.mark.parametrize("failure", [OutOfMemory("full"), RuntimeError("broken"), Stopped()])
def test_what_has_its_result_is_not_made_again(
    run: Run, names: list[str], tmp_path: Path, failure: Exception
) -> None:
    class Breaking(Single):
        made: ClassVar[list[str]] = []

        def after(self, batch: Any) -> None:
            if len(batch) > 1:
                raise failure

    events = run(Breaking, names[:4])
    statuses = [e.status for e in events if isinstance(e, Finished)]
    first = Breaking.made[0]
    assert (tmp_path / "out" / f"{first}.txt").exists()
    if isinstance(failure, Stopped):
        assert statuses.count("done") >= 1 and Breaking.made.count(first) == 1
        return
    assert statuses == ["done"] * 4
    assert Breaking.made.count(first) == 1


def test_slow_stream_does_not_hold_back_what_is_in_flight(run: Run, names: list[str]) -> None:
    made = Path(names[0]).parent / "out" / Path(names[0]).name

    def slowly() -> Iterator[str]:
        yield names[0]
        eventually(made.exists)
        yield names[1]

    assert finished(run(Toy, slowly())) == names[:2]


def test_stream_that_breaks_is_an_error(run: Run, names: list[str]) -> None:
    def broken() -> Iterator[str]:
        yield names[0]
        raise OSError("standard input is gone")

    with pytest.raises(OSError, match="is gone"):
        run(Toy, broken())


def test_bug_on_an_encoding_thread_is_not_swallowed(run: Run, names: list[str]) -> None:
    class Buggy(Toy):
        def encode(self, item: Item, media: Text, file: Path) -> Any:
            raise SystemExit("bug")

    with pytest.raises(SystemExit, match="bug"):
        run(Buggy, names)


def test_what_failed_does_not_stay_in_memory(run: Run, names: list[str]) -> None:
    """The frames of an allocation that failed are gone before it is tried again."""

    class Tensor:
        pass

    tensors: list[weakref.ref[Tensor]] = []

    class Hungry(Toy):
        def compute(self, batch: Any, emit: Any) -> list[Text]:
            assert [ref for ref in tensors if ref()] == []
            if len(tensors) < 3:
                tensor = Tensor()
                tensors.append(weakref.ref(tensor))
                try:
                    raise MemoryError
                except MemoryError as e:
                    raise OutOfMemory("full") from e
            return super().compute(batch, emit)

        def step_down(self) -> str | None:
            return "smaller"

    events = run(Hungry, names[:1])
    assert [e.status for e in events if isinstance(e, Finished)] == ["done"]
    assert len(tensors) == 3


# models, before anything is made


class NetParams(ToyParams):
    model: str = option("realesr-animevideov3", "Not on this machine, and the store is offline.")
    scale: int | None = option(None, "The catalog has a value for it.")


class Net(Toy):
    name = "upscale"  # the models are for that one
    Params = NetParams

    @classmethod
    def model_names(cls, params: Any) -> dict[str, str]:
        return {"net": params.model}


@pytest.mark.parametrize("row", [None, {"times": 2}])
def test_a_model_that_is_not_there_leaves_no_trace(
    run: Run, names: list[str], tmp_path: Path, row: dict[str, Any] | None
) -> None:
    with pytest.raises(UserError) as caught:
        run(Net, [Source(name, os.path.basename(name), row) for name in names])
    assert caught.value.code == "offline"
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError):  # a stream's first
        run(Net, iter(names))
    assert not (tmp_path / "out").exists()


def test_models_of_later_items_come_before_the_first_is_made(
    run: Run, names: list[str], tmp_path: Path
) -> None:
    here = tmp_path / "a.pth"
    here.write_bytes(b"weights")
    rows = [{"model": str(here)}, {"model": str(here), "times": 2}, None]
    sources = [Source(n, os.path.basename(n), r) for n, r in zip(names, rows, strict=False)]
    with pytest.raises(UserError):
        run(Net, sources)
    assert not (tmp_path / "out").exists()
    statuses = [e.status for e in run(Net, sources[:2]) if isinstance(e, Finished)]
    assert statuses == ["done", "done"]
    run(Net, sources[:1])  # up to date: nothing is asked for
    assert len(list((tmp_path / "out").glob("*.txt"))) == 2


def test_a_model_that_could_not_be_had_is_tried_once(run: Run, names: list[str]) -> None:
    tries = []

    class Counting(Net):
        def __init__(self, execution: Any, store: Store, cache: Any) -> None:
            class Counted(Store):
                def pull(self, spec: Any, progress: Any = None) -> Path:
                    tries.append(spec.name)
                    return super().pull(spec, progress)

            super().__init__(execution, Counted(store.root, offline=True), cache)

    row = {"model": "realesr-animevideov3"}
    events = run(Counting, [Source(name, os.path.basename(name), row) for name in names[:5]])
    errors = [e.error.code for e in events if isinstance(e, Finished) and e.error]
    assert (errors, tries) == (["offline"] * 5, ["realesr-animevideov3"])


@pytest.mark.parametrize("row", [None, {"model": "good"}])
def test_an_echo_of_the_stop_is_no_failure(
    run: Run, names: list[str], tmp_path: Path, row: dict[str, Any] | None
) -> None:
    """A library that makes an error of its own of what broke it off."""
    stop = Stop()

    class Echo(Toy):
        def compute(self, batch: Any, emit: Any) -> list[Text]:
            stop.set(ExitStatus.INTERRUPTED)
            try:
                emit(0.5)
            except BaseException:
                raise UserError("bad_weights", "the file is damaged") from None
            raise AssertionError

    events = run(Echo, [Source(n, os.path.basename(n), row) for n in names], stop=stop)
    assert finished(events) == []
    assert not (tmp_path / "out").exists()  # begun, and let go: nothing to remember


def test_stopped_is_not_caught_with_exceptions() -> None:
    assert not issubclass(Stopped, Exception)


def test_items_in_error_are_not_held_by_each_other(shell: Shell) -> None:
    shell.inputs(2)
    row = '{"input": "in/i001.txt", "tims": 2}'
    (shell.folder / "list.jsonl").write_text(f'{row}\n{row[:-2]}3}}\n{{"input": "in/i000.txt"}}')
    args = ("--from", "list.jsonl", "-o", "out", "--json")
    assert [r["status"] for r in shell.run(*args).records] == ["failed", "failed", "done"]
    assert {r["status"] for r in shell.run(*args, "--retry-failed").records} == {"failed"}
    assert not any(line["t"] == "start" for line in shell.journal() if "?" in line["key"])
    count = len(shell.journal())
    assert shell.run(*args).status == 1
    assert len(shell.journal()) == count  # said again, noted once


def test_device_gives_back_what_it_keeps_before_another_try(
    run: Run, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[str] = []
    cuda = SimpleNamespace(empty_cache=lambda: emptied.append("cuda"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

    class Full(Toy):
        def used(self) -> dict[str, str]:
            return {"device": "cuda:0"}

        def compute(self, batch: Any, emit: Any) -> list[Text]:
            if not emptied:
                raise OutOfMemory("full")
            return super().compute(batch, emit)

        def step_down(self) -> str | None:
            return "smaller"

    assert finished(run(Full, names[:1])) == names[:1]
    assert emptied == ["cuda"]
