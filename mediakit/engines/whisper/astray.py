"""When what Whisper said in a short window can't be right, and it has to listen again."""

from itertools import pairwise

from faster_whisper.tokenizer import Tokenizer

TICK = 0.02  # seconds of a timestamp token
_TOKENS = 20  # in a window, and
_TOKENS_A_SECOND = 12  # that nobody speaks faster than, in any language; more is a loop
_ECHO = 3  # tokens that, said twice on end, may be Whisper's own
_BEHIND = 1.0  # seconds that a time may be off
_EARLY = 1.5  # seconds of sound that may follow the last word, the padding of speech included


def most_tokens(seconds: float) -> int:
    """How many tokens a window of so much sound may have before it is taken for a loop."""
    return round(_TOKENS + _TOKENS_A_SECOND * seconds)


def astray(tokens: list[int], tokenizer: Tokenizer, seconds: float) -> bool:
    """Whether Whisper went on behind the end of the sound, said the same few words twice without
    a time between them, or more than anybody says in `seconds`."""
    begin = tokenizer.timestamp_begin
    behind = any(
        (token - begin) * TICK > seconds + _BEHIND and after < tokenizer.eot
        for token, after in pairwise(tokens)
    )
    return (
        behind
        or sum(token < tokenizer.eot for token in tokens) > _TOKENS_A_SECOND * (seconds + 1)
        or any(
            tokens[at : at + length] == tokens[at + length : at + 2 * length]
            for length in range(_ECHO, len(tokens) // 2 + 1)
            for at in range(len(tokens) - 2 * length + 1)
        )
    )


def remaining(tokens: list[int], tokenizer: Tokenizer, seconds: float) -> float:
    """Seconds at the end of the sound that Whisper has not listened to: none if its last words
    have no end, or if only a pause can be left."""
    begin = tokenizer.timestamp_begin
    if not tokens or tokens[-1] < begin:
        return 0.0
    rest = seconds - (tokens[-1] - begin) * TICK
    return rest if rest > _EARLY else 0.0
