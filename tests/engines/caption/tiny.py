"""Tiny random captioners in the layouts of the real ones, written by transformers' own savers."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers as t
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

WORDS = [
    *("a", "an", "the", "of", "on", "in", "and", "is", "are", "with", "two", "three"),
    *("red", "green", "blue", "yellow", "circle", "square", "triangle", "dog", "cat", "man"),
    *("tree", "house", "picture", "image", "photo", "there", "standing", "sitting", "small"),
]
SIDE = 32
ENCODER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}


def bert_tokenizer(folder: Path) -> int:
    """BERT's, of few words; how many tokens it knows."""
    pieces = ["##s", "##ing", ".", ","]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *pieces, "[DEC]"]
    own = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocab)}, unk_token="[UNK]"))
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    own.decoder = decoders.WordPiece()
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    t.PreTrainedTokenizerFast(
        tokenizer_object=own, unk_token="[UNK]", mask_token="[MASK]", bos_token="[DEC]", **special
    ).save_pretrained(folder)
    return len(vocab)


def byte_tokenizer(folder: Path, more: tuple[str, ...] = ()) -> Any:
    """GPT-2's, that knows letters, and words behind a space."""
    words = [f"Ġ{word}" for word in WORDS]
    specials = ["<|endoftext|>", "<s>", "</s>", "<pad>", *more]
    vocab = {
        w: i
        for i, w in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *words, *specials])
    }
    own = Tokenizer(models.BPE(vocab, []))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    own.add_special_tokens(specials)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    if not more:
        names = dict.fromkeys(names, "<|endoftext|>")
    extra = {"extra_special_tokens": {"image_token": "<image>"}} if more else {}
    made = t.PreTrainedTokenizerFast(tokenizer_object=own, **names, **extra)
    made.save_pretrained(folder)
    return made


def random(net: Any) -> Any:
    """With weights that make different pictures say different things."""
    torch.manual_seed(1)
    for module in net.modules():
        is_norm = isinstance(module, torch.nn.LayerNorm)
        for name, value in module.named_parameters(recurse=False):
            if is_norm and name == "weight":
                torch.nn.init.ones_(value)
            else:
                torch.nn.init.normal_(value, std=0.02 if name == "bias" else 0.5)
    return net.eval()


def blip(folder: Path, **text: Any) -> Path:
    vocab = bert_tokenizer(folder)
    config = t.BlipConfig(
        vision_config=ENCODER,
        text_config={
            "vocab_size": vocab,
            "hidden_size": 32,
            "encoder_hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "projection_dim": 16,
            "max_position_embeddings": 256,
            "bos_token_id": vocab - 1,
            "sep_token_id": 3,
            "pad_token_id": 0,
            "eos_token_id": 3,
            **text,
        },
        projection_dim=16,
        image_text_hidden_size=16,
    )
    random(t.BlipForConditionalGeneration(config)).save_pretrained(folder)
    t.BlipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def git(folder: Path) -> Path:
    vocab = bert_tokenizer(folder)
    config = t.GitConfig(
        vision_config=ENCODER,
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    random(t.GitForCausalLM(config)).save_pretrained(folder)
    t.CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)
    return folder


def vit_gpt2(folder: Path) -> Path:
    tokenizer = byte_tokenizer(folder)
    end = tokenizer.eos_token_id
    config = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        t.ViTConfig(**ENCODER),
        t.GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=256,
            bos_token_id=end,
            eos_token_id=end,
        ),
    )
    config.decoder_start_token_id = config.pad_token_id = config.eos_token_id = end
    net = random(t.VisionEncoderDecoderModel(config=config))
    own = {"decoder_start_token_id": end, "pad_token_id": end, "eos_token_id": end}
    net.generation_config = t.GenerationConfig(bos_token_id=end, max_length=14, **own)
    net.save_pretrained(folder)
    t.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def florence(folder: Path) -> Path:
    places = tuple(f"<loc_{n}>" for n in range(8))
    tokenizer = byte_tokenizer(folder, ("<image>", *places))
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id}
    config = t.Florence2Config(
        vision_config={
            "embed_dim": [16, 16, 32, 32],
            "num_heads": [2, 2, 2, 2],
            "num_groups": [2, 2, 2, 2],
            "depths": [1, 1, 1, 1],
            "window_size": 2,
            "projection_dim": 32,
            "max_position_embeddings": 8,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": 256,
            "eos_token_id": tokenizer.eos_token_id,
            "decoder_start_token_id": tokenizer.eos_token_id,
            **ids,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    net = random(t.Florence2ForConditionalGeneration(config))
    end = tokenizer.eos_token_id
    net.generation_config = t.GenerationConfig(
        max_length=14, decoder_start_token_id=end, eos_token_id=end, num_beams=1, **ids
    )
    net.save_pretrained(folder)
    pictures = t.CLIPImageProcessor(
        size={"height": 64, "width": 64}, do_center_crop=False, do_convert_rgb=True
    )
    pictures.image_seq_length = 5  # (64/32)^2 places and their mean
    t.Florence2Processor(pictures, tokenizer).save_pretrained(folder)
    return folder


FAMILIES = {"blip": blip, "git": git, "vision-encoder-decoder": vit_gpt2, "florence2": florence}


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found
