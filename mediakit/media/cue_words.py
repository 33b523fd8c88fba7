"""The words of a segment with their times, where a model gave none too, or somebody edited it."""

import re
from dataclasses import replace
from itertools import accumulate

from mediakit.media.transcripts import Segment, Word

# Scripts without spaces: kana, CJK ideographs, Thai, Lao, Khmer, Myanmar.
_SCRIPT = re.compile(
    "[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)
# A unit of those: a character with what may not begin a line behind it (closing marks, small kana,
# signs that belong to a Thai letter) and what may not end one before it; or what is between them.
_OPENING_WIDE = "「『（【〈《〔"
_OPENING = _OPENING_WIDE + r"“‘(\[{เแโใไ"
_BOUND = "ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ々ะาำๅๆ"
_UNIT = re.compile(
    rf"\s*[{_OPENING}]*{_SCRIPT.pattern}(?:[{_BOUND}]|[^\w\s{_OPENING}])*"
    rf"|\s*[{_OPENING_WIDE}]*(?:(?!{_SCRIPT.pattern})[^\s{_OPENING_WIDE}])+|\s*\S"
)


def words_of(segment: Segment) -> tuple[Word, ...]:
    """The words of a segment, each with the space before it; those of its text, where somebody
    edited that."""
    text = segment.text.strip()
    if segment.words and _bare("".join(word.text for word in segment.words)) == _bare(text):
        return segment.words
    texts = _UNIT.findall(text if re.match(_SCRIPT, text) else f" {text}")
    if len(texts) == len(segment.words):
        pairs = zip(segment.words, texts, strict=True)
        return tuple(replace(word, text=text) for word, text in pairs)
    ends = list(accumulate(len(text) for text in texts))
    if not ends:
        return ()
    start, last = segment.start, segment.end
    if segment.words:
        start, last = segment.words[0].start, max(segment.words[-1].end, segment.words[0].start)
    share = (last - start) / ends[-1]
    return tuple(
        Word(start + (end - len(text)) * share, start + end * share, text, 1.0)
        for text, end in zip(texts, ends, strict=True)
    )


def _bare(text: str) -> str:
    return "".join(text.split())
