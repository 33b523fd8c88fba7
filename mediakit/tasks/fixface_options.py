"""The options of fixface."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mediakit.params import Number, PictureInput, PictureOutput, Tile, auto_or_int, option

# All faces, or so many of the largest
Count = Annotated[
    Literal["all", "largest"] | Annotated[int, Field(ge=1)], BeforeValidator(auto_or_int)
]
# Pixels, or what suits the picture and the model
Size = Annotated[Literal["auto"] | Annotated[int, Field(ge=1)], BeforeValidator(auto_or_int)]


class FixFaceParams(PictureOutput):
    model: str = option(
        "gfpgan-1.4",
        "Model name (see: mediakit models list --task fixface) or a weights file. gfpgan-1.4: "
        "natural; restoreformer: freer with the features; codeformer: the most robust, licence "
        "for non-commercial use only. Any upscaling model works too.",
    )
    detector: str = option(
        "yunet", "Model that finds the faces: yunet, centerface, or an .onnx file of either."
    )
    scale: Number = option(
        1,
        "How many times larger each side becomes. 1 keeps the size and every pixel away from "
        "faces (packing a JPEG anew changes some; --format png does not); 2 "
        "or 4 enlarge the rest of the picture with --upscaler.",
        ge=1,
        le=16,
    )
    upscaler: str = option(
        "realesrgan-x4plus", "Model that enlarges what is no face, where --scale is above 1."
    )
    strength: float = option(
        1.0,
        "How much of the restored face is blended in, 0 to 1. 0.5 to 0.8 keeps more of the "
        "person's own look; 1 is the model's face alone.",
        ge=0,
        le=1,
    )
    weight: float | None = option(
        None,
        "CodeFormer's fidelity, 0 to 1: at 0 it draws the clearest face, at 1 the most alike; "
        "left out: 0.5. Other models have none.",
        ge=0,
        le=1,
    )
    faces: Count = option(
        "all",
        "Which faces: all, largest, or a number: so many of the largest. The others stay as they "
        "are.",
    )
    min_face: Size = option(
        "auto",
        "Width in pixels from which on a face is looked for. auto: 10, in pictures of more than "
        "1000 pixels a hundredth of the longer side. Smaller takes longer in large pictures.",
    )
    max_face: Size = option(
        "auto",
        "Width in pixels up to which faces are restored. auto: all, but not those that are large "
        "and so sharp that the model would take detail from them; a number restores these too.",
    )
    threshold: float | None = option(
        None,
        "How sure the detector must be, 0 to 1; left out: its own (yunet 0.6, centerface 0.5). "
        "Lower finds more faces, and more that are none.",
        gt=0,
        lt=1,
    )
    mask: Literal["face", "square"] = option(
        "face",
        "What is replaced. face: an oval along the face; square: hair and neck too, all that the "
        "model saw, as GFPGAN's own script does.",
    )
    aligned: bool = option(
        False,
        "The inputs are faces already cut out, square and upright, as --save-crops writes them; "
        "the results have 512x512 pixels.",
    )
    require_face: bool = option(
        False, "Let pictures without a face fail, instead of passing them on unchanged."
    )
    save_crops: bool = option(
        False, "Also write each restored face by itself, 512x512, into NAME_faces/."
    )
    compare: bool = option(
        False, "Also write the picture before and after, side by side, as NAME_compare.png."
    )


class FixFaceExecution(PictureInput):
    tile: Tile = option(
        "auto",
        "Largest side, in pixels of the input, that --upscaler sees at once. auto: what fits into "
        "free memory. Smaller needs less memory and is slower.",
    )
