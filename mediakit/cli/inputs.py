"""The inputs of a command, and the items that they mean."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from mediakit.batch.events import Note, Planned
from mediakit.batch.feed import Feed, ListFeed, StreamFeed
from mediakit.batch.gather import output_of
from mediakit.batch.inputs import Finder
from mediakit.batch.item import Source
from mediakit.batch.output import Output
from mediakit.batch.plan import Planner
from mediakit.batch.rows import Lists, prompt
from mediakit.batch.task import Task
from mediakit.cli.checks import check_items, check_named, check_useful
from mediakit.cli.options import Given
from mediakit.cli.render import Renderer
from mediakit.errors import ItemError, UserError


class Inputs:
    """What is named on the command line, or by `--from`, or on standard input; or `rows` that were
    read already."""

    def __init__(
        self,
        task: type[Task],
        given: Given,
        arguments: list[str],
        rows: Iterable[Source] | None = None,
    ) -> None:
        batch = given.batch
        self.task = task
        self.given = given
        self.arguments = arguments
        self.rows = rows
        self.streaming = rows is None and (arguments == ["-"] or str(batch.list_file) == "-")
        # a template may take columns that are no Params
        templated = getattr(given.params, "template", None)
        self._lists = Lists(task.takes_text, task.Params.model_fields if templated else None)

    @property
    def are_none(self) -> bool:
        return not (self.arguments or self.given.batch.list_file or self.rows is not None)

    @property
    def may_need_no_model(self) -> bool:
        """Rows may name other models; and there are files that need none."""
        if self.streaming and self.task.bare_suffixes:
            head = self._lists.peek(0, self.given.batch.null)
            return self.task.sniff(head) in self.task.bare_suffixes
        bare = bool(self.arguments) and all(map(self.task.is_bare, self.arguments))
        return self.rows is not None or (bare and not self.given.batch.list_file)

    def output(self) -> Output:
        """Where results go."""
        task, batch = self.task, self.given.batch
        return output_of(task, batch.out or task.default_out, self._is_one(), batch.beside)

    def in_lines(self, output: Output) -> Output:
        """The output, in lines if what comes through a pipe may be many."""
        printed = self.task.prints and not output.journal and not self.given.batch.out
        return replace(output, lines=True) if self.streaming and printed else output

    def feed(self, planner: Planner, renderer: Renderer) -> Feed:
        """The items: as they come in, or planned whole before the first model is loaded."""
        return self._stream(planner, renderer) if self.streaming else self._list(planner, renderer)

    def tell(self, renderer: Renderer) -> None:
        """What was not taken for an input."""
        if count := self._lists.passed_over:
            renderer(Note(f"passed over {count} records that have no outputs (failed or planned)"))

    def _stream(self, planner: Planner, renderer: Renderer) -> Feed:
        output = planner.output
        check_useful(self.task, self.given, [str(output.file)] if output.file else [])
        source = self._lists.stdin(0, self.given.batch.null, self.task.sniff)
        if output.lines:
            source = check_named(self.given, source)
        elif not output.many:
            source = _one_at_least(source)
        feed = StreamFeed(planner.stream(source))
        renderer(Planned(None))
        return feed

    def _list(self, planner: Planner, renderer: Renderer) -> Feed:
        found = list(self._sources(planner.output) if self.rows is None else self.rows)
        items = planner.items(found)
        check_items(self.task, self.given, items)
        renderer(Planned(len(items)))
        if not found:
            kinds = "prompts" if self.task.takes_text else ", ".join(sorted(self.task.suffixes))
            renderer(Note(f"no inputs found ({kinds})"))
        return ListFeed(items)

    def _is_one(self) -> bool:
        """Whether there is one file or prompt; what is made of it may still be several."""
        if self.rows is not None:
            return False
        if self.streaming:
            return True
        if self.given.batch.list_file or len(self.arguments) != 1:
            return False
        if self.task.takes_text:
            return True
        (argument,) = self.arguments
        is_glob = any(c in argument for c in "*?[") and not os.path.lexists(argument)
        return not is_glob and not os.path.isdir(argument)

    def _sources(self, output: Output) -> Iterator[Source]:
        """The inputs of a command that does not read standard input."""
        task, arguments, listed = self.task, self.arguments, self.given.batch.list_file
        folder = task.takes_text and listed and listed.is_dir()
        if folder:
            if arguments:
                raise UserError("usage", "prompts, and --from a folder of them: give one")
            arguments = [str(listed)]
        elif listed:
            yield from self._lists.file(listed)
        if task.takes_text and not folder:
            yield from map(prompt, arguments)
            return
        made: set[str] = set()
        if output.folder and output.journal:
            entries = output.journal.history.entries
            made = {o.path for e in entries.values() for m in e.makings() for o in m.outputs}
        yield from Finder(task.suffixes, output.folder, made).find(arguments)


def _one_at_least(sources: Iterable[Source]) -> Iterator[Source]:
    """What standard input holds, for one output: that it is empty is somebody's fault."""
    none = True
    for source in sources:
        none = False
        yield source
    if none:
        yield Source("-", "stdin", error=ItemError("empty_file", "standard input was empty"))
