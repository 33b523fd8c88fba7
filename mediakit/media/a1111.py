"""The `parameters` text of A1111's web UI, which sites and tools read: composed and parsed.

https://github.com/AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from mediakit.media.samplers import names, scheduler

_FIELD = re.compile(r'\s*(\w[\w \-/]{1,80}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"
_FEWEST = 3  # fields that make the last line one of parameters
_MOST = 1000  # that are read, of a line so long: a hostile one takes the square of its length
_LONGEST_LINE = 1 << 18
_NETWORK = re.compile(r"<(\w+):([^<>]+)>")
LONGEST = 4 << 20  # characters that are parsed
_JSON_END = re.compile(r"\s*(?:,|$)")


@dataclass(frozen=True)
class Parameters:
    """`fields` as they are written there: "Steps" -> "20", in order."""

    prompt: str = ""
    negative_prompt: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """`<lora:name:0.8>`"""

    name: str
    weight: float = 1.0


def compose(parameters: Parameters) -> str:
    """The text, such that A1111's own parser gives the same back.

    Where its form can't hold a prompt as it is (blanks around lines, "Negative prompt:" in it), the
    prompt is a field as well: there, later fields replace what came before.
    """
    kept = {k: v for k, v in parameters.fields.items() if k not in ("Prompt", "Negative prompt")}
    text = _plain(parameters, kept)
    read = parse(text)
    if (read.prompt, read.negative_prompt) == (parameters.prompt, parameters.negative_prompt):
        return text
    both = {"Prompt": parameters.prompt, "Negative prompt": parameters.negative_prompt}
    line = ", ".join(f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in both.items())
    return f"{text}, {line}" if kept else f"{text}\n{line}, Version: mediakit"


def _plain(parameters: Parameters, fields: Mapping[str, str]) -> str:
    lines = [parameters.prompt]
    if parameters.negative_prompt:
        lines.append(f"{_NEGATIVE} {parameters.negative_prompt}")
    lines.append(", ".join(f"{k}: {quote(v)}" for k, v in fields.items()))
    return "\n".join(lines).strip()


def quote(value: str) -> str:
    """As A1111 quotes: JSON for what holds a comma, colon or line break. Values that begin with a
    quote, or have blanks around them, too: they would not come back."""
    odd = value != value.strip() or value[:1] == '"'
    if not odd and not any(c in value for c in ",\n:"):
        return value
    return json.dumps(value, ensure_ascii=False)


def parse(text: str) -> Parameters:
    """Any text is understood somehow: without a line of fields, all of it is prompt."""
    lines = text[:LONGEST].strip().split("\n")
    fields: dict[str, str] = {}
    at = _line_of_fields(lines)
    if at is not None:
        fields = _fields(lines[at])
        lines = lines[:at]
    prompt, negative = _prompts(lines)
    return Parameters(fields.pop("Prompt", prompt), fields.pop("Negative prompt", negative), fields)


def _line_of_fields(lines: list[str]) -> int | None:
    """The last, or one before it that begins with Steps: some programs write more below it."""
    for at in range(len(lines) - 1, -1, -1):
        first = at == len(lines) - 1 or lines[at].startswith("Steps: ")
        if not first or len(lines[at]) > _LONGEST_LINE:
            continue
        if len(list(islice(_FIELD.finditer(lines[at]), _FEWEST))) == _FEWEST:
            return at
    return None


def _prompts(lines: list[str]) -> tuple[str, str]:
    texts: list[list[str]] = [[], []]
    now = 0
    for line in map(str.strip, lines):
        if line.startswith(_NEGATIVE):
            now, line = 1, line[len(_NEGATIVE) :].strip()
        if line or texts[now]:  # as A1111 joins them: none before the first
            texts[now].append(line)
    return "\n".join(texts[0]), "\n".join(texts[1])


def _fields(line: str) -> dict[str, str]:
    """Civitai writes JSON as it is, without quotes: such a value ends where the JSON does."""
    found: dict[str, str] = {}
    at = 0
    while len(found) < _MOST and (match := _FIELD.search(line, at)):
        key, value, at = match[1], match[2], match.end()
        if value[:1] in ("[", "{") and (end := _json_end(line, match.start(2))):
            value, at = line[match.start(2) : end], end
        found[key] = unquote(value)
    return found


def _json_end(line: str, start: int) -> int:
    try:
        _, end = json.JSONDecoder().raw_decode(line, start)
    except (ValueError, RecursionError):
        return 0
    return end if _JSON_END.match(line, end) else 0


def unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value.strip()
    try:
        return str(json.loads(value))
    except (ValueError, RecursionError):
        return value


def networks(prompt: str, kind: str = "lora") -> tuple[str, list[Network]]:
    """The prompt without its `<lora:name:weight>` tags, and those: of two weights, or named
    ones, that for the image net (`<lora:name:0.5:0.8>`, `<lora:name:te=0.5:unet=0.8>`)."""
    found: list[Network] = []

    def take(match: re.Match[str]) -> str:
        name, *rest = (part.strip() for part in match[2].split(":"))
        if match[1].lower() != kind or not name:
            return match[0]
        named = dict(part.split("=", 1) for part in rest if "=" in part)
        plain = [part for part in rest if "=" not in part]
        weight = named.get("unet") or (plain[1:2] or plain[:1] or [named.get("te", "1")])[0]
        found.append(Network(name, number(weight, 1.0)))
        return ""

    text = _NETWORK.sub(take, prompt)
    return (text.strip() if found else prompt), found


def number(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if abs(value) < 1e9 else default


def to_fields(params: Mapping[str, Any], version: str) -> dict[str, str]:
    """A1111's fields for Params of ours, in its order; what is None or unknown is left out.

    Beside Params: `model` and `vae` as names without folders, `model_hash` (the first ten digits
    of the file's sha256), `lora_hashes` (name -> digits).
    """
    p = {key: value for key, value in params.items() if value is not None}
    sampler, schedule = names(str(p.get("scheduler", "")))
    size = f"{p['width']}x{p['height']}" if "width" in p and "height" in p else None
    hashes = ", ".join(f"{k}: {v}" for k, v in p.get("lora_hashes", {}).items())
    fields = {
        "Steps": p.get("steps"),
        "Sampler": sampler or None,
        "Schedule type": schedule or None,
        "CFG scale": p.get("guidance_scale"),
        "Seed": p.get("seed"),
        "Size": size,
        "Model hash": p.get("model_hash"),
        "Model": p.get("model"),
        "VAE": p.get("vae"),
        "Denoising strength": p.get("strength"),
        "Clip skip": p["clip_skip"] + CLIP_SKIP if p.get("clip_skip") else None,
        "Eta": p["eta"] if p.get("eta") else None,
        "Lora hashes": hashes or None,
        "Version": f"mediakit {version}",
    }
    return {key: f"{value}" for key, value in fields.items() if value is not None}


# A1111 counts the last layer as 1 where diffusers (and we) skip 0
CLIP_SKIP = 1
_NUMBERS: dict[str, tuple[str, type[int] | type[float], int]] = {
    "Steps": ("steps", int, 0),
    "CFG scale": ("guidance_scale", float, 0),
    "Seed": ("seed", int, 0),
    "Denoising strength": ("strength", float, 0),
    "Clip skip": ("clip_skip", int, CLIP_SKIP),
    "Eta": ("eta", float, 0),
    "Eta DDIM": ("eta", float, 0),
}


def to_params(parameters: Parameters) -> tuple[dict[str, Any], list[str]]:
    """Ours of A1111's: prompt, negative_prompt, steps, scheduler, guidance_scale, seed, width,
    height, strength, clip_skip, eta, model, vae, loras ("name:0.8"), as far as they are there;
    and the names of fields that change the picture and were not understood."""
    prompt, loras = networks(parameters.prompt)
    negative, more = networks(parameters.negative_prompt)
    found: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
    left = dict(parameters.fields)
    for key, (name, kind, above) in _NUMBERS.items():
        value = number(left.get(key, ""), -1)
        if value >= 0 and (kind is float or value == int(value)):
            found[name] = kind(value) - above
            del left[key]
    if size := re.fullmatch(r"(\d{1,5})x(\d{1,5})", left.get("Size", "")):
        found |= {"width": int(size[1]), "height": int(size[2])}
        del left["Size"]
    ours = scheduler(left.get("Sampler", ""), left.get("Schedule type", ""))
    if ours:
        found["scheduler"] = ours
        del left["Sampler"]
        left.pop("Schedule type", None)
    for key in ("Model", "VAE"):
        if key in left:
            found[key.lower()] = left.pop(key)
    if loras or more:
        found["loras"] = [f"{lora.name}:{lora.weight:g}" for lora in (*loras, *more)]
    return found, [key for key in left if key not in _SILENT]


# fields that say nothing a picture depends on, or that other fields say
_SILENT = frozenset(
    ("Version", "User", "Model hash", "VAE hash", "Lora hashes", "TI hashes", "Hashes", "Template",
     "Negative Template", "Created Date", "Civitai resources", "Civitai metadata", "Clip skip",
     "RNG", "Schedule type", "Batch size", "Batch pos")
)  # fmt: skip
