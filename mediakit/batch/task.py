"""What a task supplies to the batch: its options, and how an item is decoded, made, encoded."""

import math
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

from mediakit import params as options
from mediakit.batch.item import Decoded, Item, Made, Recipe, Row, Source
from mediakit.errors import UserError, show
from mediakit.models.cache import ModelCache
from mediakit.models.engines import DEFAULT_ENGINE
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store


class Emit(Protocol):
    """Called by engines with the share of the running batch that is done, 0 to 1, what else there
    is to tell a person, in a few words, and the next piece of a text that is being made; may
    raise Stopped."""

    def __call__(self, share: float, told: str = "", piece: str = "", /) -> None: ...


# An input and its Params, without the model's own values -> the inputs that it means
Spread = Callable[[Source, Any], Iterable[Source]]
# An option's field, why it does nothing, and what to do about it but leave it out, if anything
Useless = tuple[str, str, str]


class Task(ABC):
    """One of mediakit's tasks, ready to work; `decode` and `encode` run on threads of their own.

    `result_version` is raised whenever the same Params come to give another result, so that
    files made before are made again.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line, for help
    Params: ClassVar[type[options.Params]]
    Execution: ClassVar[type[options.Execution]]
    result_version: ClassVar[int] = 1
    input_role: ClassVar[str] = "image"
    extra: ClassVar[str]  # of pyproject.toml
    engine: ClassVar[str] = DEFAULT_ENGINE  # that loads weights given by path or address
    packages: ClassVar[tuple[str, ...]]  # import names that the extra brings
    takes_text: ClassVar[bool] = False  # inputs are texts, not files
    takes_piped: ClassVar[bool] = False  # standard input belongs to the prompts
    suffixes: ClassVar[frozenset[str]]  # of files that a directory yields, lower case, with dot
    # Files named by hand that need no model, and the Params that mean something for them
    bare_suffixes: ClassVar[frozenset[str]] = frozenset()
    bare_params: ClassVar[frozenset[str]] = frozenset()
    output_suffixes: ClassVar[frozenset[str]]  # an -o that ends so is a file, not a directory
    default_out: ClassVar[Path | None] = None  # where results go without -o
    prints: ClassVar[bool] = False  # results are text: without -o they go to standard output
    gathers: ClassVar[frozenset[str]] = frozenset()  # suffixes of one file for all results
    keeps_freed: ClassVar[bool] = True  # memory, for the next layer; see heap.py
    batch_size: int = 1  # how many items `compute` takes at once
    batch_bytes: ClassVar[float] = math.inf  # of decoded inputs, after which a batch is full

    def __init__(self, execution: options.Execution, store: Store, cache: ModelCache) -> None:
        self.execution = execution
        self.store = store
        self.cache = cache
        self.is_ready = False  # whether `get_ready` was called, and found the device
        self._waited: defaultdict[int, float] = defaultdict(float)  # thread -> seconds, for models

    @classmethod
    def is_bare(cls, name: str) -> bool:
        """Whether an input of that name needs no model."""
        return os.path.splitext(name)[1].lower() in cls.bare_suffixes

    @classmethod
    @abstractmethod
    def model_names(cls, params: Any) -> Mapping[str, str]:
        """The models that an item with these Params needs: role -> name or path."""

    @classmethod
    def purposes(cls, role: str) -> tuple[str, ...]:
        """What a model of that role may be for: tasks, as catalog entries name them."""
        return (cls.name,)

    @classmethod
    def engine_of(cls, role: str) -> str:
        """What loads weights given by path or address in that role."""
        return cls.engine

    @classmethod
    @abstractmethod
    def suffix(cls, name: str, params: Any) -> str:
        """The suffix of the default output of an input of that name, with its dot."""

    @classmethod
    def more_suffixes(cls, name: str, params: Any) -> tuple[str, ...]:
        """The suffixes of the files that come with the primary output of an input of that name,
        with their dots; one may begin with the input's own (".jpg.xmp")."""
        return ()

    @classmethod
    def may_add(cls, name: str) -> bool:
        """Whether there is --append, and it could add to a file of that name."""
        return False

    @classmethod
    def adds(cls, params: Any) -> bool:
        """Whether outputs are added to what their files hold already, whosever it is: such files
        are not in the way."""
        return False

    @classmethod
    def spreading(cls, limit: int | None) -> Spread:
        """What tells the inputs that one input means, such as one a seed, for one batch of which
        at most `limit` items are wanted; it raises UserError or ItemError."""
        return lambda source, params: [source]

    @classmethod
    def own_name(cls, source: Source, params: Any, fingerprint: str) -> str | None:
        """The default name, without its suffix, of an output that is not named after a file."""
        return None

    @classmethod
    def row(cls, item: Item, result: Mapping[str, Any]) -> Row:
        """An item's row in a file of all results (`gathers`)."""
        return {"input": item.source.path, **result}

    def line(self, item: Item, result: Mapping[str, Any]) -> str:
        """A result among others on standard output, without the line's end."""
        return f"{show(item.source.path)}\t{' '.join(result['text'].split())}"

    @classmethod
    def settle(cls, params: Any, given: Collection[str], models: Mapping[str, ModelSpec]) -> Any:
        """The Params as they will be used, `models`' own values filled in already; UserError for
        values, `given` by the user, that do not go together or with the models."""
        return params

    @classmethod
    def without_paths(cls, params: Any) -> Mapping[str, Any]:
        """What fingerprints hold in place of Params that name models' files and say more beside:
        field -> value; the files' digests count anyway."""
        return {}

    @classmethod
    def check_output(cls, name: str, params: Any) -> None:
        """UserError if an output of that name can't be what the Params ask for."""
        return

    @classmethod
    def useless(
        cls, told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
    ) -> Iterator[Useless]:
        """The options that do nothing, of those that were `told` on the command line.

        `values` are those of all options, whoever set them; `outputs` the names of all outputs,
        none where they are not known yet. Where "list_file" was told, there are rows, which may
        hold what an option needs or rule it out.
        """
        if "threads" in told and values["device"].split(":")[0] in ("cuda", "mps"):
            yield "threads", "does nothing on a GPU", "leave --device out"

    @classmethod
    def sniff(cls, head: bytes) -> str:
        """The suffix of bytes on standard input that are one of this task's files, else empty."""
        return ""

    @abstractmethod
    def begin(self) -> None:
        """Choose the device; called once it is needed. UserError if it can't be had."""

    def get_ready(self, recipe: Recipe | None = None) -> None:
        """`begin`, and warm up on another thread; from the second call on, nothing. The models of
        a `recipe` that will be needed are loaded there too. UserError as `begin` has it."""
        if self.is_ready:
            return
        self.begin()
        self.is_ready = True
        begun = threading.Event()

        def work() -> None:
            try:
                with suppress(Exception):  # `compute` says what is wrong
                    if recipe is None:
                        self.warm_up()
                    else:
                        self.load_ahead(recipe, begun.set)
            finally:
                begun.set()

        # daemon: nobody waits for an import at the end
        threading.Thread(target=work, name="warm up", daemon=True).start()
        if recipe is not None:
            begun.wait()

    def warm_up(self) -> None:
        """Import what `compute` will need, while the first inputs are decoded."""
        return

    def load_ahead(self, recipe: Recipe, begun: Callable[[], None]) -> None:
        """Load the models of a recipe into the cache; `begun` is called when what is left of that
        no longer keeps the interpreter busy: until then, whoever else imports would delay it.
        Here: only what `warm_up` does."""
        self.warm_up()

    @abstractmethod
    def used(self) -> Mapping[str, Any]:
        """The Execution as it came out, for the record: device, dtype, threads, tile, ..."""

    @contextmanager
    def loaded(
        self, spec: ModelSpec, key: Hashable, device: str, arguments: Callable[[], Sequence[Any]]
    ) -> Iterator[Any]:
        """The model of `spec`: found in the cache by `key`, or made by its engine's function of
        `arguments()`, which is called once its files are here. What takes time counts as loading.
        """

        def load() -> Any:
            self.store.pull(spec)
            module, _, function = spec.engine.partition(":")
            return getattr(import_module(module), function)(*arguments())

        begin = time.perf_counter()
        with self.cache.use(key, device, load, spec.size) as model:
            self._waited[threading.get_ident()] += time.perf_counter() - begin
            yield model

    @property
    def load_seconds(self) -> float:
        """What this thread has waited for models so far, loading them or until they were loaded."""
        return self._waited[threading.get_ident()]

    @abstractmethod
    def decode(self, item: Item) -> Decoded:
        """Read the item's input. ItemError names what is wrong with it."""

    @abstractmethod
    def compute(
        self, batch: list[tuple[Item, Decoded]], emit: Emit
    ) -> list[Any] | Iterator[tuple[int, Any]]:
        """The result of each item, in order, or the MediakitError of one that came out bad; or the
        number of each item and its result as they come, which are then written at once.

        OutOfMemory makes the runner step down and retry what has no result yet.
        """

    @abstractmethod
    def step_down(self) -> str | None:
        """Need less memory from now on; say how, or return None when there is no smaller way."""

    @abstractmethod
    def encode(self, item: Item, media: Any, file: Path) -> Made:
        """Write the result to `file`, whose name is temporary, and what comes with it to files
        beside (see Extra). OSError if the disk says no.

        Of a task that prints, `result["text"]` is what standard output gets a line of.
        """


def check_installed(task: type[Task]) -> None:
    """UserError that names the extra to install if a package of the task's is missing."""
    import importlib.util

    missing = [name for name in task.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            "missing_extra",
            f"mediakit {task.name} needs {', '.join(missing)}; "
            f"install them from mediakit's folder: pip install '.[{task.extra}]'",
        )
