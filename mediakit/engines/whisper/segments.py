"""How the tokens of a window become segments with times, flags, and words."""

from collections.abc import Sequence
from dataclasses import replace

from faster_whisper.tokenizer import Tokenizer

from mediakit.engines.whisper.astray import TICK
from mediakit.engines.whisper.decode import Heard
from mediakit.engines.whisper.request import Doubts
from mediakit.media.transcripts import Segment, Word

# of tiny.en on 20 s each of noise, hums, clicks and chords, and well known of the larger models
_FASTEST = 40  # characters a second
_INVENTED = frozenset(
    ("you", "you you", "thank you", "thanks", "thank you for watching", "thanks for watching",
     "bye", "bye bye", "so", "okay", "oh")
)  # fmt: skip


def segments(
    heard: Heard, tokenizer: Tokenizer, seconds: float, words: Sequence[tuple[Word, int]]
) -> list[Segment]:
    """The segments of a window, in seconds from its start, `seconds` being its length; without
    empty ones."""
    found = []
    words = list(words)
    for start, end, tokens in _split(heard.tokens, tokenizer, seconds):
        count = len(tokens)
        own: list[Word] = []
        while words and count > 0:
            word, length = words.pop(0)
            count -= length
            if word.text:
                own.append(word)
        text = str(tokenizer.decode(tokens)).strip()
        if not text:
            continue
        found.append(
            Segment(
                start=own[0].start if own else start,
                end=own[-1].end if own else end,
                text=text,
                words=tuple(own),
                avg_logprob=round(heard.avg_logprob, 4),
                no_speech_prob=round(heard.no_speech_prob, 4),
                compression_ratio=round(heard.compression_ratio, 4),
                temperature=heard.temperature,
            )
        )
    return found


def moved(segment: Segment, seconds: float) -> Segment:
    """The same, `seconds` later; times to a millisecond."""
    return replace(
        segment,
        start=round(segment.start + seconds, 3),
        end=round(segment.end + seconds, 3),
        words=tuple(
            replace(w, start=round(w.start + seconds, 3), end=round(w.end + seconds, 3))
            for w in segment.words
        ),
    )


def flagged(segment: Segment, doubts: Doubts) -> Segment:
    """With the flags of transcripts.FLAGS that the thresholds give it."""
    flags = []
    if doubts.logprob_threshold is not None and segment.avg_logprob < doubts.logprob_threshold:
        flags.append("low_confidence")
    if (
        doubts.no_speech_threshold is not None
        and segment.no_speech_prob > doubts.no_speech_threshold
    ):
        flags.append("may_be_silence")
    if (
        doubts.compression_ratio_threshold is not None
        and segment.compression_ratio > doubts.compression_ratio_threshold
    ):
        flags.append("repetitive")
    if len(segment.text.strip()) > _FASTEST * (segment.end - segment.start):
        flags.append("too_fast")
    return replace(segment, flags=tuple(flags))


def invented(segment: Segment) -> bool:
    """Whether a segment, flagged, is what Whisper writes where nobody speaks, however sure it is:
    nothing but punctuation, or, in what is likely no speech, the same again and again or one of a
    few phrases."""
    words = "".join(c for c in segment.text.lower() if c.isalnum() or c == " ").split()
    if not words:
        return True
    if "may_be_silence" not in segment.flags:
        return False
    return "repetitive" in segment.flags or " ".join(words) in _INVENTED


def _split(
    tokens: list[int], tokenizer: Tokenizer, seconds: float
) -> list[tuple[float, float, list[int]]]:
    """Start, end and text tokens of what stands between timestamps; whisper writes
    `<start> text <end><start> text <end>`, and may leave out any of them."""
    found: list[tuple[float, float, list[int]]] = []
    begin, text, start = tokenizer.timestamp_begin, list[int](), 0.0
    for token in tokens:
        if token < begin:
            if token < tokenizer.eot:
                text.append(token)
            continue
        time = min((token - begin) * TICK, seconds)
        if text:
            found.append((start, max(time, start), text))
            text = []
        start = time
    if text:
        found.append((start, seconds, text))
    return found
