"""What can go wrong: exit statuses, the registry of error codes, and who an error stops."""

import re
from enum import IntEnum

# surrogates that stand for no byte of a file name
_LONE = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")


class ExitStatus(IntEnum):
    """What a command returns to the shell; signals are 128 plus their number, as shells have it."""

    DONE = 0  # everything done or up to date
    FAILED = 1  # some items failed, or the place failed (disk full, read-only)
    USAGE = 2  # wrong usage, or a model that can't be loaded: nothing was begun
    HANGUP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


# code -> what it means. Fields are only ever added: scripts match on these words.
CODES: dict[str, str] = {
    # an item
    "missing_file": "the input does not exist",
    "unreadable": "the input may not be read, or reading it failed",
    "not_a_file": "the input is a directory, device, socket or pipe where a file is needed",
    "broken_link": "the input is a symbolic link that leads nowhere or in a circle",
    "empty_file": "the input has no bytes",
    "unsupported_format": "the content is not of a format that this task reads",
    "corrupt": "the content is truncated or damaged",
    "too_many_pixels": "the picture has more pixels than --max-pixels allows",
    "zero_size": "the picture has no width or no height",
    "unsupported_pixels": "the picture's kind of pixels can't be kept (16 bit, CMYK, ...)",
    "animated": "the picture has several frames",
    "alpha_unsupported": "the output format can't hold the picture's transparency",
    "too_large": "the result would be more than 16 times larger than the input",
    "too_large_for_format": "the output format can't hold a picture of that size",
    "bad_row": "a line of the input list can't be understood, or sets an unknown parameter",
    "no_prompt": "a prompt is needed and there is none",
    "bad_prompt": "the alternatives or wildcards of a prompt can't be understood",
    "outside_out": "the output's name would lie outside the output directory",
    "name_too_long": "the output's name is longer than the file system allows",
    "name_collision": "two inputs would be written to one file",
    "would_overwrite": "a file that mediakit did not make, or that was edited, is in the way",
    "changed": "the input changed while it was read",
    "missing_mask": "the directory of masks holds none for the picture",
    "ambiguous_mask": "the directory of masks holds several for the picture",
    "mask_mismatch": "the mask and the picture have other proportions",
    "empty_mask": "the mask leaves nothing to repaint",
    "cannot_extend": "the picture is larger than what it is to be extended to",
    "no_audio": "the file holds no sound, or not the audio stream that was asked for",
    "bad_transcript": "the file is no transcript that mediakit wrote",
    "truncated": "the recording ends before the end that its file promises",
    "no_face": "no face was found in the picture, and --require-face was given",
    "bad_faces": "the face detector gave no numbers, or failed",
    "not_aligned": "the picture can't be an aligned face: it is not square",
    "too_narrow": "the picture is too long and thin for the model",
    "schema_unmet": "the answer is no JSON, or not what the schema asks for",
    "answer_cut": "the answer was cut off: it may take no more tokens",
    "context_too_long": "the prompt is longer than the model's context",
    "messages_refused": "the model's chat template does not take such messages",
    "too_few_words": "the model could not say as many words as --min-words asks for",
    "crashed": "the process died twice while it worked on the item",
    "out_of_memory": "not enough memory, even after stepping down",
    "missing_codec": "the codec of a picture or sound is not installed",
    "encode_failed": "the result could not be written in the output format",
    "failed": "the task failed for a reason that has no code of its own",
    # the place
    "disk_full": "no space, quota or inodes left where outputs are written",
    "read_only": "outputs can't be written: read-only or no permission",
    "unwritable": "outputs or their journal can't be written or read for another reason",
    "device_lost": "the device stopped answering",
    # usage and models
    "usage": "the command line is wrong",
    "useless_option": "an option was given that would do nothing",
    "bad_schema": "a schema can't be read, or is not a JSON Schema that stands alone",
    "bad_grammar": "a GBNF grammar can't be read, or can't be followed",
    "bad_preset": "a preset file can't be read, or says something no task understands",
    "unknown_preset": "there is no preset of that name",
    "bad_record": "a record can't be replayed",
    "unknown_model": "there is no model of that name, and no such file",
    "bad_model_entry": "an entry of models.yaml is not valid",
    "missing_extra": "a Python package that the command needs is not installed",
    "model_unavailable": "a model file could not be fetched",
    "offline": "a model file is not on this machine and --offline was given",
    "digest_mismatch": "a model file is not the one that the catalog names",
    "unsafe_weights": "a weights file holds code",
    "bad_weights": "a weights file is damaged, or of a kind that is not known",
    "wrong_model": "the model is for another task",
    "bad_device": "the device or number type does not exist on this machine",
    "over_budget": "the model is larger than the memory budget",
    "no_template": "the model has no chat template",
    "bad_template": "the model's chat template can't be read, fails, or takes too long",
    "missing_component": "a model lacks a part (text encoder, tokenizer, VAE)",
    "wrong_lora": "a LoRA or embedding is not for this model",
    "bad_picture": "a model made a picture of no numbers, or all black",
}


class MediakitError(Exception):
    """An error with a registered code and one line that names the thing, the cause and the cure."""

    def __init__(self, code: str, message: str) -> None:
        if code not in CODES:
            raise LookupError(f"error code {code!r} is not registered in mediakit.errors.CODES")
        super().__init__(message)
        self.code = code
        self.message = message


class UserError(MediakitError):
    """The command can't begin: exit status 2."""


class ItemError(MediakitError):
    """This item fails; the batch goes on."""


class PlaceError(MediakitError):
    """A fault of the place, which the next item would meet too: the batch stops, exit status 1."""


class OutOfMemory(Exception):
    """Raised by engines when the device (or host) has no memory left; the runner steps down."""


class Stopped(BaseException):
    """Raised out of `emit`, or by a signal anywhere, when the batch was told to stop; like
    KeyboardInterrupt no Exception, so that nobody who catches those takes it for a failure."""


def show(name: object) -> str:
    """Any text fit for one line of a terminal: control characters, non-UTF-8 bytes and lone
    surrogates escaped."""
    text = str(name)
    if text.isprintable():
        return text
    text = _LONE.sub(lambda m: f"\\u{ord(m[0]):04x}", text)
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    )
