"""How a GGUF file becomes a model that answers.

Nothing here takes numpy, which is imported on another thread while llama.cpp reads the file.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from mediakit.engines.llama.loading import Fit, Opened, open_model
from mediakit.engines.llama.templates import ChatTemplate
from mediakit.engines.llama.trial import Trial
from mediakit.engines.llama.vision_templates import template_for
from mediakit.models.gguf import header

if TYPE_CHECKING:
    from mediakit.engines.llama.model import Llama
    from mediakit.engines.llama.vision import Projector


def load(
    file: Path,
    device: str,
    threads: int,
    gpu_layers: int | None,
    context_length: int | None,
    projector: Path | None = None,
    sequences: int = 1,
) -> "Llama":
    """Open a language model in GGUF, with the `projector` that lets it see pictures.

    `device` is cpu, or one of `devices.names()`. `gpu_layers` None: as many as fit there.
    `context_length` None: see memory.context_length. `sequences`: answers at once. Raises
    UserError unknown_model, bad_weights, wrong_model or bad_device, and OutOfMemory.
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
    with ExitStack() as undo:
        if template is not None:
            undo.callback(template.close)
        opened = open_model(
            file, facts, Fit(device, threads, gpu_layers, context_length, sequences)
        )
        undo.callback(opened.context.close)
        sight = None
        if projector is not None and trial is not None:
            trial.check()
            sight = _sight(projector, opened, threads)
        from mediakit.engines.llama.model import Llama

        undo.pop_all()
    return Llama(facts, opened, template, sight, sequences)


def _sight(file: Path, opened: Opened, threads: int) -> "Projector":
    # it reads pictures, which takes libraries that nothing else here needs
    from mediakit.engines.llama.vision import Projector

    return Projector(file, opened.context, threads, on_gpu=opened.gpu_layers > 0)
