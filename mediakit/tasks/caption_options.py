"""What caption can be told: what is said of a picture, how it is written down, how it is
computed."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mediakit.params import Params, PictureInput, option
from mediakit.tasks.text_files import distinct

MOST_WORDS = 50
Format = Literal["txt", "json", "xmp"]
FORMATS: dict[str, str] = {  # -> media type
    "txt": "text/plain",
    "json": "application/json",
    "xmp": "application/rdf+xml",
}


Formats = Annotated[tuple[Format, ...], BeforeValidator(distinct)]


class CaptionParams(Params):
    model: str = option(
        "blip-base",
        "Model name (see: mediakit models list --task caption), a folder in transformers' layout, "
        "hf:org/repository, or a vision GGUF. blip-base: one sentence, quick; florence-2-large: "
        "also long descriptions, tags and text in pictures; starter-captioner: tiny.",
    )
    projector: str | None = option(
        None,
        "The second file of a vision GGUF (mmproj-....gguf), for --model FILE.gguf; catalog models "
        "bring their own.",
    )
    prompt: str | None = option(
        None,
        "For a vision GGUF: a question or an instruction, such as 'Are you allowed to swim here?'. "
        "For blip and git: how the caption begins, such as 'a photo of'.",
        min_length=1,
    )
    mode: Literal["brief", "detailed", "paragraph", "tags", "regions", "ocr"] | None = option(
        None,
        "What florence-2 tells. brief: a sentence; detailed: several; paragraph: all there is to "
        "say; tags: names of the things there are; regions: a few words for each part; ocr: the "
        "text in the picture. Left out: brief.",
    )
    min_words: int | None = option(
        None,
        "At least so many words. Much more than the model likes, and it invents.",
        ge=1,
        le=MOST_WORDS,
    )
    max_words: int | None = option(
        None, "At most so many words; what comes after is cut off.", ge=1, le=MOST_WORDS
    )
    beam_size: int | None = option(
        None,
        "How many wordings are followed at a time. Left out: the model's own, 1 for most. 3 to 5 "
        "errs less, and takes up to twice as long.",
        ge=1,
        le=20,
    )
    temperature: float | None = option(
        None,
        "Draw the words instead of taking the likeliest: 0.7 varies a little, above 1 gets odd. "
        "Left out or 0: the likeliest.",
        ge=0,
        le=5,
    )
    top_p: float | None = option(
        None,
        "With --temperature: draw among the likeliest words that have this probability together. "
        "0.9 leaves out the odd ones.",
        gt=0,
        le=1,
    )
    seed: int = option(0, "With --temperature: another seed, another caption.", ge=0, le=2**32 - 1)
    repetition_penalty: float | None = option(
        None,
        "Above 1 (say 1.2) suppresses words that were just said; too much changes the text.",
        gt=0,
        le=5,
    )
    no_repeat_ngram_size: int | None = option(
        None, "No sequence of so many tokens is written twice; 3 ends loops.", ge=1, le=20
    )
    strip: bool = option(
        False,
        "Take stock phrases off the beginning: 'a picture of', 'there is', 'arafed' and the like.",
    )
    strip_phrase: tuple[str, ...] = option(
        (), "Take this phrase off the beginning too; may be given several times."
    )
    prefix: str = option(
        "", "Put this before each caption, as it stands: 'sks dog, ' for training sets."
    )
    suffix: str = option("", "Put this behind each caption, as it stands.")
    append: bool = option(
        False,
        "Keep what a .txt or .xmp file holds already, and put the caption behind it, once. A "
        "caption that was put there before is replaced.",
    )
    separator: str = option(
        ", ", r"With --append: what stands before the caption. '\n' is a new line."
    )
    format: Formats = option(
        (),
        "What is written: txt, json, xmp (for photo managers); several with commas, the "
        "first being the output that pipes pass on. Left out: "
        "what the name of -o says, else txt.",
    )
    xmp_name: Literal["full", "stem"] = option(
        "full",
        "Names of .xmp files. full: photo.jpg.xmp, which darktable and digiKam read. stem: "
        "photo.xmp, which Lightroom reads beside raw files, and darktable when it imports.",
    )


class CaptionExecution(PictureInput):
    batch_size: Annotated[int, Field(ge=1, le=256)] | None = option(
        None, "How many pictures are described at once. Left out: 8 on a CPU, 32 on a GPU."
    )
    gpu_layers: int | None = option(
        None,
        "For a vision GGUF: how many of its layers lie on the GPU. Left out: as many as fit.",
        ge=0,
    )
