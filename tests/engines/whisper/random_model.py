"""A multilingual Whisper with random weights, in CTranslate2's format: two layers of 16 numbers."""

from pathlib import Path

import torch
from ctranslate2.converters.transformers import WhisperLoader
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import WhisperConfig, WhisperForConditionalGeneration

# the sizes of openai/whisper's vocabulary for large-v3
_TEXT = 50257
_LANGUAGES = [f"<|{code}|>" for code in _LANGUAGE_CODES]
SPECIAL = [
    "<|endoftext|>", "<|startoftranscript|>", *_LANGUAGES, "<|translate|>", "<|transcribe|>",
    "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
    *(f"<|{tick * 0.02:.2f}|>" for tick in range(1501)),
]  # fmt: skip


def write_random_model(folder: Path) -> Path:
    """Model, configuration and tokenizer; the same each time."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    # by the empty token, which no English model has, CTranslate2 tells that there are languages
    text = [*letters, *(f"t{number}" for number in range(_TEXT - len(letters) - 1)), ""]
    vocabulary = [*text, *SPECIAL]
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(vocabulary), d_model=16, num_mel_bins=80,
        encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32,
        pad_token_id=_TEXT, bos_token_id=_TEXT, eos_token_id=_TEXT,
        decoder_start_token_id=_TEXT + 1,
    )  # fmt: skip
    spec = WhisperLoader().get_model_spec(WhisperForConditionalGeneration(config).eval())
    spec.register_vocabulary(vocabulary)
    spec.config.lang_ids = [vocabulary.index(language) for language in _LANGUAGES]
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [220, _TEXT]
    spec.config.alignment_heads = [[1, 0], [1, 1]]
    spec.validate()
    folder.mkdir(parents=True)
    spec.save(str(folder))
    tokenizer = Tokenizer(models.BPE({token: at for at, token in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
