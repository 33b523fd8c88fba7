"""Pictures described by a plain loop over transformers, as its model cards have it; and the random
net that both sides are measured with: `python -m benchmarks.plain_caption make|run FOLDER ...`."""

import argparse
import json
import sys
from pathlib import Path

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mediakit.engines.caption.transformers import quiet

TOKENS = 12  # of a caption: what people write of a photo has 10 words and a half (COCO Captions)
MOST = 50  # tokens, where the model does not end before


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=("make", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--input", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    quiet()
    torch.set_num_threads(args.threads)
    if args.how == "make":
        make(args.folder, args.small)
    else:
        run(args.folder, args.input)


def run(folder: Path, pictures: Path) -> None:
    model = transformers.BlipForConditionalGeneration.from_pretrained(folder)
    eyes = transformers.AutoImageProcessor.from_pretrained(folder)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    found = {}
    for path in sorted(pictures.iterdir()):
        image = Image.open(path).convert("RGB")
        with torch.inference_mode():
            given = eyes(images=image, return_tensors="pt")
            (tokens,) = model.generate(**given, max_new_tokens=MOST)
        found[str(path)] = words.decode(tokens, skip_special_tokens=True)
    json.dump(found, sys.stdout)


def make(folder: Path, small: bool) -> None:
    """BLIP base with random weights, but for the last layer, which ends each caption at TOKENS."""
    torch.manual_seed(0)
    more = {"num_hidden_layers": 1} if small else {}
    config = transformers.BlipConfig(vision_config=more, text_config=more)
    net = transformers.BlipForConditionalGeneration(config).eval()
    net.text_decoder.bert.embeddings.position_embeddings.weight.data *= 20  # tells where it is
    for layer in net.text_decoder.bert.encoder.layer:  # and what it sees
        layer.crossattention.output.dense.weight.data *= 20
    _end_in_time(net)
    net.save_pretrained(folder)
    transformers.BlipImageProcessor().save_pretrained(folder)
    _words(config.text_config).save_pretrained(folder)


@torch.inference_mode()
def _end_in_time(net: transformers.BlipForConditionalGeneration) -> None:
    """Turn the end's row of the last layer towards what the net is like after TOKENS tokens."""
    end = net.config.text_config.sep_token_id
    head = net.text_decoder.cls.predictions
    seen: list[torch.Tensor] = []
    hook = head.transform.register_forward_hook(lambda *told: seen.append(told[2][:, -1]))
    pixels = torch.randn(4, 3, 384, 384)
    net.generate(pixel_values=pixels, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    hook.remove()
    before, then = torch.cat(seen[:-1]), seen[-1]
    direction = then.mean(0) - before.mean(0)
    highest, now = (before @ direction).max(), (then @ direction).min()
    scale = 100 / (now - highest)
    head.decoder.weight[end] = direction * scale
    head.bias[end] = -(now + highest) / 2 * scale
    if head.decoder.bias is not head.bias:
        head.decoder.bias[end] = head.bias[end]


def _words(config: transformers.BlipTextConfig) -> transformers.PreTrainedTokenizerFast:
    """As many as BLIP has, each one word."""
    names = {f"w{number}": number for number in range(config.vocab_size)}
    known = {"[PAD]": config.pad_token_id, "[SEP]": config.sep_token_id}
    known |= {"[DEC]": config.bos_token_id}
    vocab = {name: n for name, n in names.items() if n not in known.values()} | known
    own = Tokenizer(models.WordPiece(vocab, unk_token="w100"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    own.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="[PAD]", sep_token="[SEP]", bos_token="[DEC]"
    )


if __name__ == "__main__":
    main()
