"""How a checkpoint in one file, in the layout of its authors, becomes the parts of a pipeline."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from mediakit.engines.diffusion import configs, layout
from mediakit.engines.diffusion.clip_words import clip_tokenizer
from mediakit.engines.diffusion.families import FAMILIES
from mediakit.engines.diffusion.flux_names import convert_flux
from mediakit.engines.diffusion.layout import UNET, Layout
from mediakit.engines.diffusion.parts import filled, folder_parts, guarded, quiet
from mediakit.engines.diffusion.pickled import unwrapped
from mediakit.engines.diffusion.request import Files
from mediakit.engines.weights import read_weights, write_weights
from mediakit.errors import UserError, show

State = Mapping[str, Any]

_CALLED = {
    "vae": "VAE",
    "text_encoder": "text encoder (CLIP)",
    "text_encoder_2": "second text encoder",
    "text_encoder_3": "third text encoder (T5)",
    "tokenizer_2": "tokenizer of T5",
    "tokenizer_3": "tokenizer of T5",
}


def single_file_parts(files: Files, dtype: torch.dtype, given: State) -> dict[str, Any]:
    """Component of the pipeline -> object; those `given` are not read from the file.

    UserError as `layout.identify`, and missing_component for what is neither in the file nor in
    `files.parts`.
    """
    quiet()
    found = layout.identify(files.path)
    parts: dict[str, Any] = dict(given)
    lacking = [part for part in found.lacks if part not in parts]
    if lacking and files.parts:
        extra = folder_parts(files.parts, dtype, {}, tuple(lacking))
        parts |= {name: part for name, part in extra.items() if part is not None}
    lacking = [part for part in lacking if part not in parts]
    if lacking:
        raise _missing(files, lacking)
    state = unwrapped(read_weights(files.path))
    parts |= guarded(files.path, lambda: _nets(found, state, dtype, files, parts))
    if files.keep:
        files.keep(files.path, partial(write_weights, state))
    return parts | {name: made for name, made in _tokenizers(found).items() if name not in parts}


def _missing(files: Files, lacking: list[str]) -> UserError:
    words = " and no ".join(_CALLED[part] for part in lacking)
    where = f"neither {show(files.path)} nor {show(files.parts)} holds a" if files.parts else ""
    cure = (
        "give one with --vae"
        if lacking == ["vae"]
        else ("give a diffusers folder that has them with --components")
    )
    text = f"{where or f'{show(files.path)} holds no'} {words}; {cure}"
    return UserError("missing_component", text)


def _nets(
    found: Layout, state: State, dtype: torch.dtype, files: Files, have: State
) -> dict[str, Any]:
    import diffusers.loaders.single_file_utils as names
    from diffusers import AutoencoderKL, UNet2DConditionModel

    conversions: Any = names
    made: dict[str, Any] = {}
    prediction = _prediction(found, state)
    native = found.native or (
        512 if _is_base_2(found, prediction) else FAMILIES[found.family].native
    )
    if found.family.startswith("flux"):
        prefix = UNET if f"{UNET}img_in.weight" in found.shapes else ""
        made["transformer"] = convert_flux(state, configs.flux_config(found, prefix), prefix, dtype)
    elif found.family == "sd3":
        made["transformer"] = _sd3_net(found, state, dtype)
    else:
        config = configs.unet_config(found, native)
        net = conversions.convert_ldm_unet_checkpoint(dict(state), config)
        made["unet"] = filled(UNet2DConditionModel, config, net, dtype)
    for part, prefix in found.parts.items():
        if part == "vae" and part not in have:
            family = "flux" if found.family == "flux-fill" else found.family
            config = configs.vae_config(found.shapes, prefix, family)
            vae = {k: v for k, v in state.items() if k.startswith(prefix)}
            weights = conversions.convert_ldm_vae_checkpoint(vae, config)
            made[part] = filled(AutoencoderKL, config, weights, dtype)
        elif part not in have:
            made[part] = _text_encoder(found, part, state, dtype)
    made["scheduler"] = _scheduler(configs.scheduler_config(found, prediction))
    return made


def _sd3_net(found: Layout, state: State, dtype: torch.dtype) -> Any:
    import diffusers.loaders.single_file_utils as names
    from diffusers import SD3Transformer2DModel

    convert: Any = names.convert_sd3_transformer_checkpoint_to_diffusers
    prefix = UNET if f"{UNET}pos_embed" in found.shapes else ""
    own = ("joint_blocks.", "pos_embed", "x_embedder.", "t_embedder.", "context_embedder.",
           "y_embedder.", "final_layer.")  # fmt: skip
    net = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    net = {key: value for key, value in net.items() if key.startswith(own)}
    config = configs.sd3_config(found, prefix)
    return filled(SD3Transformer2DModel, config, convert(net), dtype)


def _text_encoder(found: Layout, part: str, state: State, dtype: torch.dtype) -> Any:
    import diffusers.loaders.single_file_utils as conversions
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    prefix = found.parts[part]
    if prefix in layout.T5:
        return _t5(found, prefix, state, dtype)
    cls: Any = CLIPTextModel
    if prefix in layout.OPEN_CLIP:
        config = configs.open_clip_config(found.shapes, prefix, found.family)
        cls = CLIPTextModelWithProjection if found.family == "sdxl" else CLIPTextModel
    elif found.family == "sd3":
        config = configs.sd3_clip_config(found.shapes, prefix, prefix in layout.CLIP_G)
        cls = CLIPTextModelWithProjection
    else:
        config = configs.clip_config(found.shapes, prefix)
    with torch.device("meta"):
        net = cls(CLIPTextConfig(**config))
    if prefix in layout.OPEN_CLIP:
        convert: Any = conversions.convert_open_clip_checkpoint
        weights = convert(net, dict(state), prefix=prefix)
    else:
        above = prefix.removesuffix("text_model.")  # where a projection is
        weights = {k.removeprefix(above): v for k, v in state.items() if k.startswith(above)}
    if not hasattr(net, "text_model"):  # flattened in transformers 5.6
        weights = {key.removeprefix("text_model."): value for key, value in weights.items()}
    return _with_weights(net, weights, dtype)


def _t5(found: Layout, prefix: str, state: State, dtype: torch.dtype) -> Any:
    from transformers import T5Config, T5EncoderModel

    with torch.device("meta"):
        net = T5EncoderModel(T5Config(**configs.t5_config(found.shapes, prefix)))
    weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    weights.setdefault("encoder.embed_tokens.weight", weights["shared.weight"])
    return _with_weights(net, weights, dtype)


def _with_weights(net: Any, weights: State, dtype: torch.dtype) -> Any:
    """All parameters; buffers that the file lacks (positions) are counted anew."""
    wanted = dict(net.named_parameters())
    lacking = [name for name in wanted if name not in weights]
    if lacking:
        raise ValueError(
            f"{len(lacking)} weights of the text encoder are missing: {lacking[0]} ..."
        )
    taken = {name: weights[name].to(dtype).contiguous() for name in wanted}
    net.load_state_dict(taken, strict=False, assign=True)
    net.tie_weights()
    for module in net.modules():
        for name, value in module._buffers.items():
            if value is not None and value.is_meta:
                counted = torch.arange(value.shape[-1]).expand(value.shape)
                module.register_buffer(name, counted, persistent=False)
    return net.eval().requires_grad_(False)


def _tokenizers(found: Layout) -> dict[str, Any]:
    if found.family in ("sdxl", "sd3"):
        return {"tokenizer": clip_tokenizer(), "tokenizer_2": clip_tokenizer("!")}
    return {"tokenizer": clip_tokenizer("!" if found.family == "sd2" else "<|endoftext|>")}


def _prediction(found: Layout, state: State) -> str:
    """What the net predicts: noise, or velocity (arXiv:2202.00512).

    Told by the metadata of ModelSpec, by a tensor named v_pred (fine-tunes of XL), and of SD 2.x,
    whose two kinds are alike in shapes, by the spread of a bias, as ComfyUI does.
    """
    told = str(found.metadata.get("modelspec.prediction_type", ""))
    if told in ("v", "v_prediction", "epsilon"):
        return "epsilon" if told == "epsilon" else "v_prediction"
    if "v_pred" in found.shapes:
        return "v_prediction"
    bias = state.get(f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias")
    if found.family == "sd2" and found.channels == 4 and bias is not None:
        return "v_prediction" if float(bias.float().std(unbiased=False)) > 0.09 else "epsilon"
    return "epsilon"


def _is_base_2(found: Layout, prediction: str) -> bool:
    """SD 2.x that predicts noise was trained at 512, that which predicts velocity at 768."""
    return found.family == "sd2" and prediction == "epsilon"


def _scheduler(config: dict[str, Any]) -> Any:
    import diffusers

    return getattr(diffusers, config["_class_name"]).from_config(config)
