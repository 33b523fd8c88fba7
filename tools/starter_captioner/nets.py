"""What the starter captioner is made of: BLIP's two halves in small, its words, its eyes."""

import string

from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
)

from tools.starter.draw import SIDE
from tools.starter.tokenizer import words

WIDTH = 96
LENGTH = 64  # tokens
PATCH = 8  # pixels: the smallest shape is 3 patches wide
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_BEGIN = "[DEC]"  # BLIP's name for what every caption begins with


def processor() -> BlipProcessor:
    """Pictures to SIDE x SIDE, and BERT's tokenizer: a token for each word of the captions, and for
    each letter and digit, so that any other word of a prompt is spelt."""
    letters = string.ascii_lowercase + string.digits
    pieces = [*letters, *(f"##{letter}" for letter in letters), *string.punctuation]
    names = dict.fromkeys([*_SPECIAL, *words(), *pieces, _BEGIN])
    tokenizer = BertTokenizer(
        vocab={name: index for index, name in enumerate(names)},
        bos_token=_BEGIN,
        model_max_length=LENGTH,
    )
    return BlipProcessor(BlipImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer)


def captioner(tokenizer: BertTokenizer) -> BlipForConditionalGeneration:
    """0.8 M parameters."""
    layer = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4}
    seeing = {
        **layer,
        "num_hidden_layers": 4,
        "projection_dim": WIDTH,
        "image_size": SIDE,
        "patch_size": PATCH,
        "initializer_range": 0.02,
    }
    saying = {
        **layer,
        "num_hidden_layers": 2,
        "projection_dim": WIDTH,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return BlipForConditionalGeneration(
        BlipConfig(
            vision_config=seeing,
            text_config=saying,
            projection_dim=WIDTH,
            image_text_hidden_size=WIDTH,
        )
    )
