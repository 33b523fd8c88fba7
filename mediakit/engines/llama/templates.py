"""A model's chat template: from messages to the prompt that the model was trained on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mediakit.engines.llama.renderer import Limits, Renderer, RenderError
from mediakit.errors import ItemError, UserError, show

Messages = list[dict[str, Any]]
_ABSENT = {
    "tools": None,
    "documents": None,
}  # what transformers passes: templates ask "is not none"
_PARTS = "[{'type':'text',"
_LONGEST = 300  # characters of a template's own words in a message
MERGED = (
    "the model's chat template has no place for a system prompt; it was put before the first "
    "message of the user"
)
LEFT_OUT = (
    "the model's chat template leaves out what the user says; "
    "give the bare prompt with --raw, or take another file of the model"
)


class ChatTemplate:
    """A template out of a GGUF, which anybody may have written: it is rendered in a process of its
    own, without files, clock or chance (renderer.py, template_process.py).

    For any thread. A prompt may begin with `bos`: the tokenizer must not add a second one.
    """

    def __init__(self, source: str, bos: str, eos: str, limits: Limits | None = None) -> None:
        """UserError no_template where there is none."""
        if not source.strip():
            raise UserError(
                "no_template",
                "the model has no chat template, so it may not be made for chat; "
                "give it the bare prompt with --raw, or choose an instruction-tuned model",
            )
        self._renderer = Renderer(source, limits or Limits())
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._typed = False

    def start(self) -> None:
        """Begins to get ready, and returns at once; to be called before the model is loaded."""
        self._renderer.start()

    def close(self) -> None:
        self._renderer.close()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = True,
        warn: Callable[[str], None] = lambda _: None,
        **variables: Any,
    ) -> str:
        """The prompt for messages of a "role" and a "content" that is a string.

        Where the template refuses or drops the system prompt, that goes before the first message of
        the user, and `warn` says so. `variables` are the model's own ("enable_thinking").
        UserError bad_template: it can't be compiled. ItemError bad_template: it fails, or takes too
        long; messages_refused: it wants other messages.
        """
        more = self._tokens | {"add_generation_prompt": add_generation_prompt} | variables
        given = [dict(message) for message in messages]
        merged = _merged(given)
        try:
            text, whole = self._rendered(given, more)
        except RenderError as error:
            if not merged or error.kind not in ("refused", "broken"):
                raise _fault(error) from None
            text, whole = "", False
        if not whole and merged:
            try:
                text, whole = self._rendered(merged, more)
            except RenderError as error:
                raise _fault(error) from None
            warn(MERGED)
        if not whole:
            warn(LEFT_OUT)
        return text

    def _rendered(self, messages: Messages, more: Mapping[str, Any]) -> tuple[str, bool]:
        """The prompt, and whether it holds what was said. Contents are strings, or lists of parts
        for templates that know nothing else (SmolVLM's reads no text out of a string)."""
        plain: str | RenderError = ""
        for typed in (self._typed, not self._typed):
            given = [_typed(message) for message in messages] if typed else messages
            try:
                text = self._renderer.render({"messages": given, **_ABSENT, **more})
            except RenderError as error:
                if error.kind != "broken":
                    raise
                plain = plain if typed else error
                continue
            if _says(text, messages):
                self._typed = typed
                return text, True
            plain = plain if typed else text
        if isinstance(plain, RenderError):
            raise plain
        return plain, False


def _says(text: str, messages: Messages) -> bool:
    """Whether the system prompt and the last message of the user are in the text, trimmed or not,
    and no list of parts as Python shows one."""
    told = [message["content"] for message in messages[:1] if message["role"] == "system"]
    told += [message["content"] for message in messages if message["role"] == "user"][-1:]
    written = "".join(text.split())
    return _PARTS not in written and all("".join(said.split()) in written for said in told)


def _typed(message: Mapping[str, Any]) -> dict[str, Any]:
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def _merged(messages: Messages) -> Messages | None:
    """Without a system role, if there is one and somebody to say it."""
    if len(messages) < 2 or [message["role"] for message in messages[:2]] != ["system", "user"]:
        return None
    system, user, *rest = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def _fault(error: RenderError) -> UserError | ItemError:
    words = show(error.message).rstrip(".")
    words = words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."
    if error.kind == "syntax":
        return UserError(
            "bad_template",
            f"the model's chat template can't be read ({words}); "
            "take another file of the model, or give it bare prompts with --raw",
        )
    if error.kind == "refused":
        return ItemError(
            "messages_refused",
            f"the model's chat template refuses these messages: {words}",
        )
    what = "was stopped" if error.kind == "limit" else "fails"
    return ItemError(
        "bad_template",
        f"the model's chat template {what}: {words}; "
        "take another file of the model, or give it bare prompts with --raw",
    )
