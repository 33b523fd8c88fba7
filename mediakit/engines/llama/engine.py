"""How a GGUF file becomes a model that answers.

What answers is imported on another thread while llama.cpp reads the file: not earlier, when both
would wait for the interpreter. Numpy, which takes longer than the rest together, is left out where
nothing will need it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from mediakit.engines.llama.fit import Fit
from mediakit.engines.llama.loading import Opened, open_model
from mediakit.engines.llama.templates import ChatTemplate
from mediakit.engines.llama.trial import Trial
from mediakit.engines.llama.vision_templates import template_for
from mediakit.models.gguf import header

if TYPE_CHECKING:
    from mediakit.engines.llama.model import Llama
    from mediakit.engines.llama.vision import Projector

_PLAIN = ("mediakit.engines.llama.model",)
_WITH_NUMPY = ("mediakit.engines.llama.parallel", "mediakit.engines.llama.candidates")


def load(
    file: Path,
    fit: Fit,
    projector: Path | None = None,
    begun: Callable[[], None] = lambda: None,
    plain: bool = False,
) -> "Llama":
    """Open a language model in GGUF, with the `projector` that lets it see pictures. `begun` is
    called when llama.cpp is to read it; `plain` says that one answer is wanted, without a grammar
    and the like, which takes no numpy.

    Raises UserError unknown_model, bad_weights, wrong_model or bad_device, and OutOfMemory.
    """
    facts = header(file)
    facts.check_chat(file)
    trial, source = None, facts.chat_template
    if projector is not None:
        header(projector).check_projector(projector)
        trial = Trial(file, projector)
        source = source or template_for(facts.architecture, facts.name)
    template = None
    if source.strip():  # a base model has none
        template = ChatTemplate(source, facts.bos, facts.eos)
        template.start()  # a process gets ready while the model loads

    def reading() -> None:
        names = _PLAIN if plain else (*_PLAIN, *_WITH_NUMPY)
        Thread(target=lambda: [*map(import_module, names)], daemon=True).start()
        begun()

    with ExitStack() as undo:
        if template is not None:
            undo.callback(template.close)
        opened = open_model(file, facts, fit, reading)
        undo.callback(opened.context.close)
        sight = None
        if projector is not None and trial is not None:
            trial.check()
            sight = _sight(projector, opened, fit.threads)
        from mediakit.engines.llama.model import Llama

        undo.pop_all()
    return Llama(facts, opened, template, sight, fit.sequences)


def _sight(file: Path, opened: Opened, threads: int) -> "Projector":
    # it reads pictures, which takes libraries that nothing else here needs
    from mediakit.engines.llama.vision import Projector

    return Projector(file, opened.context, threads, on_gpu=opened.gpu_layers > 0)
