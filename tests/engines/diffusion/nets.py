"""Tiny random nets in the layouts of real models, as diffusers folders."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

# What SD 1.x and 2.x publish in scheduler_config.json
SD_NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def byte_letters() -> list[str]:
    """The 256 letters that stand for bytes in CLIP's and GPT-2's vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    rest = (b for b in range(256) if b not in letters)
    letters |= {b: chr(256 + i) for i, b in enumerate(rest)}
    return [letters[b] for b in plain] + [letters[b] for b in range(256) if b not in plain]


def clip_tokenizer(folder: Path, pad: str = EOS) -> None:
    """A CLIP tokenizer that knows letters only, as the files of a real one."""
    letters = byte_letters()
    vocab = [*letters, *(letter + "</w>" for letter in letters), BOS, EOS]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(vocab)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": pad}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**special, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"})
    )


VOCAB = 514


def clip(folder: Path, size: int = 32, layers: int = 2, **options: Any) -> None:
    """A CLIP text encoder, with a projection if `projection_dim` is given."""
    config = CLIPTextConfig(
        vocab_size=options.pop("vocab", VOCAB),
        hidden_size=size,
        intermediate_size=size * 4,
        num_hidden_layers=layers,
        num_attention_heads=options.pop("heads", max(1, size // 64)),
        max_position_embeddings=77,
        bos_token_id=VOCAB - 2,
        eos_token_id=2,  # as published: the largest id of the text is meant
        **options,
    )
    kind = CLIPTextModelWithProjection if "projection_dim" in options else CLIPTextModel
    net = kind(config)
    for name, value in net.named_parameters():  # random ones hardly differ from word to word
        if "embedding" in name:
            torch.nn.init.normal_(value, std=0.5)
    net.save_pretrained(folder)


def vae(folder: Path, channels: tuple[int, ...] = (32, 32, 32, 32), **options: Any) -> None:
    """8 times smaller on each side, as all these families' are."""
    given = {
        "block_out_channels": channels,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "latent_channels": 4,
        "layers_per_block": 1,
        "sample_size": 64,
    }
    AutoencoderKL(**(given | options)).save_pretrained(folder)


def unet(folder: Path, channels: tuple[int, ...] = (32, 64), **options: Any) -> None:
    """The last level without attention, as SD 1 has it."""
    levels = len(channels)
    given = {
        "sample_size": 8,
        "block_out_channels": channels,
        "down_block_types": ("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        "layers_per_block": 2,
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
    }
    UNet2DConditionModel(**(given | options)).save_pretrained(folder)


def index(folder: Path, kind: str, **components: Any) -> Path:
    """Write model_index.json: name -> (library, class); underscored names are settings."""
    settings = {"_class_name": kind, "_diffusers_version": "0.42.1"}
    (folder / "model_index.json").write_text(json.dumps(settings | components))
    return folder


def diffusers_part(kind: str) -> list[str]:
    return ["diffusers", kind]


def transformers_part(kind: str) -> list[str]:
    return ["transformers", kind]


SD_PARTS = {
    "vae": diffusers_part("AutoencoderKL"),
    "unet": diffusers_part("UNet2DConditionModel"),
    "text_encoder": transformers_part("CLIPTextModel"),
    "tokenizer": transformers_part("CLIPTokenizer"),
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],  # not in the folder
    "feature_extractor": transformers_part("CLIPImageProcessor"),
}


def sd1(folder: Path, channels: tuple[int, ...] = (32, 64), seed: int = 1, **options: Any) -> Path:
    """Stable Diffusion 1.5; `in_channels=9` for its inpainting checkpoint.

    `text`, `vae_channels`: sizes of the other parts; `tokens`: size of the vocabulary.
    """
    torch.manual_seed(seed)
    size = options.pop("text", 32)
    clip(folder / "text_encoder", size, options.pop("text_layers", 3),
         vocab=options.pop("tokens", VOCAB))  # fmt: skip
    vae(folder / "vae", options.pop("vae_channels", (32,) * 4))
    inpainting = options.get("in_channels", 4) == 9
    unet(folder / "unet", channels, cross_attention_dim=size, **options)
    clip_tokenizer(folder / "tokenizer")
    # PNDM is what SD 1.5 publishes
    scheduler = SD_NOISE | {"skip_prk_steps": True}
    write_scheduler(folder, "PNDMScheduler", scheduler)
    picture_reader(folder)
    kind = "StableDiffusionInpaintPipeline" if inpainting else "StableDiffusionPipeline"
    return index(folder, kind, **SD_PARTS, scheduler=diffusers_part("PNDMScheduler"))


def sd1_shaped(folder: Path, seed: int = 1) -> Path:
    """About 60 million parameters in the proportions of SD 1.5, for benchmarks; 256 x 256."""
    return sd1(
        folder, (96, 192, 288, 288), seed, text=256, text_layers=6, tokens=VOCAB, sample_size=32,
        vae_channels=(32, 64, 96, 96),
    )  # fmt: skip


def sd2(folder: Path, seed: int = 2, **options: Any) -> Path:
    """Stable Diffusion 2.1 at 768: v-prediction, heads of 64, linear projections."""
    torch.manual_seed(seed)
    clip(folder / "text_encoder", 64, 3, vocab=options.pop("tokens", VOCAB), hidden_act="gelu")
    vae(folder / "vae")
    unet(folder / "unet", (64, 64), cross_attention_dim=64, attention_head_dim=[1, 1],
         use_linear_projection=True, **options)  # fmt: skip
    clip_tokenizer(folder / "tokenizer", pad="!")
    DDIMScheduler(**SD_NOISE, prediction_type="v_prediction").save_pretrained(folder / "scheduler")
    picture_reader(folder)
    return index(
        folder, "StableDiffusionPipeline", **SD_PARTS, scheduler=diffusers_part("DDIMScheduler")
    )


def sdxl(folder: Path, seed: int = 3, **options: Any) -> Path:
    """Stable Diffusion XL: two text encoders, sizes and crops as conditions."""
    torch.manual_seed(seed)
    tokens = options.pop("tokens", VOCAB)
    clip(folder / "text_encoder", 32, 3, vocab=tokens)
    clip(folder / "text_encoder_2", 64, 3, projection_dim=64, hidden_act="gelu", vocab=tokens)
    vae(folder / "vae", scaling_factor=0.13025, force_upcast=True)
    given = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": [1, 2],
        "attention_head_dim": [1, 1],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 64 + 6 * 8,
        "use_linear_projection": True,
        "cross_attention_dim": 96,
    }
    unet(folder / "unet", (32, 64), **(given | options))
    clip_tokenizer(folder / "tokenizer")
    clip_tokenizer(folder / "tokenizer_2", pad="!")
    noise = {k: v for k, v in SD_NOISE.items() if k not in ("clip_sample", "set_alpha_to_one")}
    EulerDiscreteScheduler(**noise, timestep_spacing="leading").save_pretrained(
        folder / "scheduler"
    )
    inpainting = options.get("in_channels", 4) == 9
    return index(
        folder,
        "StableDiffusionXLInpaintPipeline" if inpainting else "StableDiffusionXLPipeline",
        force_zeros_for_empty_prompt=True,
        vae=diffusers_part("AutoencoderKL"),
        unet=diffusers_part("UNet2DConditionModel"),
        text_encoder=transformers_part("CLIPTextModel"),
        text_encoder_2=transformers_part("CLIPTextModelWithProjection"),
        tokenizer=transformers_part("CLIPTokenizer"),
        tokenizer_2=transformers_part("CLIPTokenizer"),
        scheduler=diffusers_part("EulerDiscreteScheduler"),
    )


def t5(folder: Path, size: int = 64) -> None:
    """A T5 encoder and, beside it in `tokenizer...`, a tokenizer that knows letters only."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\N{LOWER ONE EIGHTH BLOCK}", -2.0)]
    pieces += [(chr(c), -3.0) for c in range(33, 127)]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)
    tokenizer.save_pretrained(folder.parent / folder.name.replace("text_encoder", "tokenizer"))
    net = T5EncoderModel(
        T5Config(
            vocab_size=len(pieces),
            d_model=size,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )
    torch.nn.init.normal_(net.shared.weight, std=0.5)
    net.save_pretrained(folder)


def sd3(folder: Path, seed: int = 4, **options: Any) -> Path:
    """Stable Diffusion 3: two CLIPs and a T5, a flow-matching transformer; 3.5 medium with
    `qk_norm="rms_norm", dual_attention_layers=(0,)`."""
    torch.manual_seed(seed)
    tokens = options.pop("tokens", VOCAB)
    clip(folder / "text_encoder", 32, 3, projection_dim=32, vocab=tokens)
    clip(folder / "text_encoder_2", 32, 3, projection_dim=32, hidden_act="gelu", vocab=tokens)
    t5(folder / "text_encoder_3", 64)
    vae(folder / "vae", latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609,
        use_quant_conv=False, use_post_quant_conv=False)  # fmt: skip
    SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=16, out_channels=16, num_layers=2,
        attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32,
        joint_attention_dim=64, pooled_projection_dim=64, pos_embed_max_size=16, **options,
    ).save_pretrained(folder / "transformer")  # fmt: skip
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    clip_tokenizer(folder / "tokenizer")
    clip_tokenizer(folder / "tokenizer_2", pad="!")
    return index(
        folder,
        "StableDiffusion3Pipeline",
        vae=diffusers_part("AutoencoderKL"),
        transformer=diffusers_part("SD3Transformer2DModel"),
        text_encoder=transformers_part("CLIPTextModelWithProjection"),
        text_encoder_2=transformers_part("CLIPTextModelWithProjection"),
        text_encoder_3=transformers_part("T5EncoderModel"),
        tokenizer=transformers_part("CLIPTokenizer"),
        tokenizer_2=transformers_part("CLIPTokenizer"),
        tokenizer_3=transformers_part("T5TokenizerFast"),
        scheduler=diffusers_part("FlowMatchEulerDiscreteScheduler"),
    )


def flux(folder: Path, seed: int = 5, guidance: bool = True, **options: Any) -> Path:
    """FLUX.1: dev takes its guidance as an input, schnell (`guidance=False`) takes none."""
    torch.manual_seed(seed)
    clip(folder / "text_encoder", 32, 3, vocab=options.pop("tokens", VOCAB))
    t5(folder / "text_encoder_2", 64)
    vae(folder / "vae", latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159,
        use_quant_conv=False, use_post_quant_conv=False)  # fmt: skip
    FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=32,
        num_attention_heads=1, joint_attention_dim=64, pooled_projection_dim=32,
        guidance_embeds=guidance, axes_dims_rope=(4, 14, 14),
    ).save_pretrained(folder / "transformer")  # fmt: skip
    shift = {"shift": 3.0, "use_dynamic_shifting": True} if guidance else {"shift": 1.0}
    FlowMatchEulerDiscreteScheduler(**shift).save_pretrained(folder / "scheduler")
    clip_tokenizer(folder / "tokenizer")
    return index(
        folder,
        "FluxPipeline",
        vae=diffusers_part("AutoencoderKL"),
        transformer=diffusers_part("FluxTransformer2DModel"),
        text_encoder=transformers_part("CLIPTextModel"),
        text_encoder_2=transformers_part("T5EncoderModel"),
        tokenizer=transformers_part("CLIPTokenizer"),
        tokenizer_2=transformers_part("T5TokenizerFast"),
        scheduler=diffusers_part("FlowMatchEulerDiscreteScheduler"),
    )


def qwen_words(folder: Path) -> None:
    """A byte-level tokenizer with the marks of a chat, as Qwen's."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = [*byte_letters(), *special]
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
    )
    tokenizer = Qwen2Tokenizer(
        vocab={letter: i for i, letter in enumerate(letters)}, merges=[], model_max_length=512
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


def qwen(folder: Path, layers: int = 2, size: int = 32) -> None:
    """A Qwen 3 language model, which reads the prompts of Z-Image and FLUX.2 klein."""
    config = Qwen3Config(
        vocab_size=260, hidden_size=size, intermediate_size=32, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=1024,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)


def z_image(folder: Path, seed: int = 6) -> Path:
    """Z-Image: one stream of words and latents."""
    torch.manual_seed(seed)
    qwen(folder / "text_encoder")
    qwen_words(folder / "tokenizer")
    vae(folder / "vae", latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159,
        use_quant_conv=False, use_post_quant_conv=False)  # fmt: skip
    ZImageTransformer2DModel(
        in_channels=16, dim=64, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        cap_feat_dim=32, axes_dims=[8, 12, 12], axes_lens=[1024, 64, 64],
    ).save_pretrained(folder / "transformer")  # fmt: skip
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    return _one_encoder(folder, "ZImagePipeline", "ZImageTransformer2DModel", "AutoencoderKL")


def flux2_klein(folder: Path, seed: int = 7) -> Path:
    """FLUX.2 klein, distilled: reads three layers of its language model."""
    torch.manual_seed(seed)
    qwen(folder / "text_encoder", layers=28)
    qwen_words(folder / "tokenizer")
    AutoencoderKLFlux2(
        block_out_channels=(32,) * 4, layers_per_block=1, latent_channels=8, sample_size=64
    ).save_pretrained(folder / "vae")
    Flux2Transformer2DModel(
        in_channels=32, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=96, axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    ).save_pretrained(folder / "transformer")  # fmt: skip
    FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True).save_pretrained(
        folder / "scheduler"
    )
    parts = "Flux2KleinPipeline", "Flux2Transformer2DModel", "AutoencoderKLFlux2"
    return _one_encoder(folder, *parts, is_distilled=True)


def qwen_vl(folder: Path) -> None:
    """A Qwen 2.5 VL: a language model that sees, of which Qwen-Image reads the words only."""
    text = {
        "vocab_size": 260, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
    }  # fmt: skip
    sight = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
             "out_hidden_size": 32, "fullatt_block_indexes": [0]}  # fmt: skip
    net = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=sight)
    )
    for name, value in net.named_parameters():  # random ones hardly differ from word to word
        if "embed_tokens" in name:
            torch.nn.init.normal_(value, std=0.5)
    net.save_pretrained(folder)


def qwen_image(folder: Path, seed: int = 8) -> Path:
    """Qwen-Image: a VAE made for films, of which a picture is the first frame."""
    torch.manual_seed(seed)
    qwen_vl(folder / "text_encoder")
    qwen_words(folder / "tokenizer")
    AutoencoderKLQwenImage(base_dim=8, num_res_blocks=1).save_pretrained(folder / "vae")
    QwenImageTransformer2DModel(
        num_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
    ).save_pretrained(folder / "transformer")  # fmt: skip
    FlowMatchEulerDiscreteScheduler(  # as published
        base_shift=0.5, max_shift=0.9, shift_terminal=0.02, max_image_seq_len=8192,
        use_dynamic_shifting=True,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    return _one_encoder(
        folder, "QwenImagePipeline", "QwenImageTransformer2DModel", "AutoencoderKLQwenImage",
        text_encoder=transformers_part("Qwen2_5_VLForConditionalGeneration"),
    )  # fmt: skip


def _one_encoder(folder: Path, kind: str, net: str, decoder: str, **settings: Any) -> Path:
    settings.setdefault("text_encoder", transformers_part("Qwen3ForCausalLM"))
    return index(
        folder,
        kind,
        vae=diffusers_part(decoder),
        transformer=diffusers_part(net),
        tokenizer=transformers_part("Qwen2Tokenizer"),
        scheduler=diffusers_part("FlowMatchEulerDiscreteScheduler"),
        **settings,
    )


def write_scheduler(folder: Path, kind: str, config: dict[str, Any]) -> None:
    place = folder / "scheduler"
    place.mkdir()
    (place / "scheduler_config.json").write_text(json.dumps({"_class_name": kind} | config))


def picture_reader(folder: Path) -> None:
    """What the safety checker, which is not there, would look through."""
    place = folder / "feature_extractor"
    place.mkdir()
    (place / "preprocessor_config.json").write_text(
        '{"image_processor_type": "CLIPImageProcessor"}'
    )
