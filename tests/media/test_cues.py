"""Subtitles people can read: shapes, times and places where they are cut."""

import random
from dataclasses import replace

import pytest

from mediakit.media.cues import Cue, CueLayout, columns, cues
from mediakit.media.transcripts import Segment, Transcript, Word

TEXT = (
    "He was not an ill-disposed young man, unless to be rather cold-hearted and rather selfish is "
    "to be ill-disposed: but he was, in general, well respected; for he conducted himself with "
    "propriety in the discharge of his ordinary duties."
)


def said(*segments: Segment, duration: float = 0.0) -> Transcript:
    end = duration or segments[-1].end
    return Transcript(segments, "en", 1.0, end, end)


def spoken(text: str, start: float = 0.0, each: float = 0.3) -> Segment:
    """A segment whose words take `each` seconds."""
    words = tuple(
        Word(start + i * each, start + (i + 1) * each, f" {word}", 0.9)
        for i, word in enumerate(text.split())
    )
    return Segment(words[0].start, words[-1].end, text, words)


def check(found: list[Cue], layout: CueLayout, duration: float) -> None:
    """What holds of any subtitles."""
    end = 0.0
    for cue in found:
        assert end <= cue.start < cue.end <= duration + 0.01
        assert 1 <= len(cue.lines) <= layout.max_line_count
        assert all(line == line.strip() != "" for line in cue.lines)
        assert all(columns(line) <= layout.max_line_width or " " not in line for line in cue.lines)
        assert "".join("".join(cue.lines).split()) == "".join(cue.text.split())
        end = cue.end


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ("use the dial answer.", "and hang up commands", 2),  # a full stop ends a segment
        ("use the dial answer", "You have also a choice", 2),  # a capital begins one
        ("use the dial answer", "and hang up commands", 1),
        ("this was said by Mr.", "Dashwood himself there", 1),
    ],
)
def test_where_segments_meet(first: str, second: str, count: int) -> None:
    made = spoken(first)
    found = cues(said(made, spoken(second, made.end)), CueLayout())
    assert [cue.text for cue in found] == ([first, second] if count == 2 else [f"{first} {second}"])


@pytest.mark.parametrize("seed", range(30))
def test_any_speech(seed: int) -> None:
    """Nothing is lost, nothing overlaps, nothing is too wide, too long or out of order."""
    draw = random.Random(seed)
    layout = CueLayout(draw.choice([20, 42, 60]), draw.choice([1, 2, 3]), draw.choice([3.0, 7.0]))
    segments, at = [], 0.0
    for _ in range(draw.randint(1, 12)):
        text = " ".join(draw.choices(TEXT.split(), k=draw.randint(1, 40)))
        segment = spoken(text, at, draw.choice([0.1, 0.3, 0.8]))
        if draw.random() < 0.4:
            segment = Segment(segment.start, segment.end, text)  # the times of words not known
        segments.append(segment)
        at = segment.end + draw.choice([0.0, 0.05, 0.7, 5.0])
    found = cues(said(*segments), layout)
    check(found, layout, segments[-1].end)
    assert all(
        cue.words[-1].end - cue.words[0].start <= layout.max_cue_seconds + 1e-6
        for cue in found
        if len(cue.words) > 1
    )
    assert " ".join(cue.text for cue in found) == " ".join(s.text for s in segments)


def test_sentences_begin_anew_and_abbreviations_do_not_end_them() -> None:
    text = "I met Mr. J. Dashwood today at noon. He had then leisure to consider how much."
    found = cues(said(spoken(text)), CueLayout())
    assert [cue.text for cue in found] == [
        "I met Mr. J. Dashwood today at noon.",
        "He had then leisure to consider how much.",
    ]


def test_no_name_is_torn_from_its_title() -> None:
    text = "Mr. John Dashwood had then leisure to consider how much there might be in his power."
    found = cues(said(spoken(text, each=0.5)), CueLayout())
    assert found[0].text.startswith("Mr. John Dashwood")


def test_a_pause_ends_a_cue() -> None:
    found = cues(said(spoken("one two"), spoken("three four", 2.0)), CueLayout())
    assert [cue.text for cue in found] == ["one two", "three four"]
    near = cues(said(spoken("one two"), spoken("three four", 0.7)), CueLayout())
    assert [cue.text for cue in near] == ["one two three four"]


def test_long_sentences_are_cut_at_clauses_and_lines_balance() -> None:
    found = cues(said(spoken(TEXT)), CueLayout())
    assert found[0].text == "He was not an ill-disposed young man,"
    for cue in found:
        if len(cue.lines) == 2:
            first, second = map(len, cue.lines)
            assert min(first, second) >= 0.4 * max(first, second), cue.lines
        assert cue.lines[0].split()[-1] not in ("to", "the", "a", "and", "of")


def test_there_is_time_to_read() -> None:
    quick = said(spoken("quickly spoken words that need time", each=0.05), duration=10.0)
    (cue,) = cues(quick, CueLayout())
    assert cue.end == pytest.approx(35 / 21, abs=0.1)  # characters, characters a second
    (short,) = cues(said(spoken("Yes."), duration=10.0), CueLayout())
    assert short.end == pytest.approx(1.0)
    pair = cues(said(spoken("Yes."), spoken("No.", 1.2), duration=10.0), CueLayout(pause=0.5))
    assert pair[0].end == pytest.approx(1.0)
    assert pair[1].start == pytest.approx(1.2)


def test_scripts_without_spaces_break_between_characters() -> None:
    text = "映画の字幕は読みやすくなければならないということは、長い間よく知られている。"
    found = cues(said(Segment(0.0, 6.0, text)), CueLayout(max_line_width=24))
    assert len(found) > 1
    assert "".join(cue.text for cue in found) == text
    assert all(columns(line) <= 24 for cue in found for line in cue.lines)
    assert not any(line.startswith(("、", "。")) for cue in found for line in cue.lines)


def test_marks_stay_with_their_characters() -> None:
    text = "「今日は」と彼は言った（笑）。コンピューターとビール、Hello「world」と『新しい本』。"
    for width in range(10, 40, 2):
        found = cues(said(Segment(0.0, 20.0, text)), CueLayout(max_line_width=width))
        lines = [line for cue in found for line in cue.lines]
        assert "".join(lines) == text
        assert not any(line[0] in "」）。、』ーュ" or line[-1] in "「（『" for line in lines), lines
    thai = cues(said(Segment(0.0, 6.0, "ทำไมเราไปที่โรงเรียนเมื่อวานนี้")), CueLayout(12))
    lines = [line for cue in thai for line in cue.lines]
    assert not any(line[0] in "ะาำ\u0e31\u0e34\u0e48" or line[-1] in "เแโใไ" for line in lines)


def test_a_sentence_does_not_end_before_small_letters() -> None:
    text = "I called him at about 7.30 a.m. and I said that we have to do this now, or not at all."
    found = cues(said(spoken(text)), CueLayout())
    assert [cue.text for cue in found] == [
        "I called him at about 7.30 a.m. and I said that we have to do this now,",
        "or not at all.",
    ]
    apart = "It ended at 7.30 p.m. We went."
    assert len(cues(said(spoken(apart, each=0.4)), CueLayout())) == 2


def test_no_word_is_left_over() -> None:
    text = "Especially when the network is slow and messages arrive out of order or not ever again."
    found = cues(said(spoken(text, each=0.2)), CueLayout())
    assert min(len(cue.text) for cue in found) > 20


def test_what_somebody_edited_is_shown_when_it_was_said() -> None:
    heard = spoken("my name is jon smith")
    (cue,) = cues(said(replace(heard, text="My name is John Smith.")), CueLayout())
    assert cue.text == "My name is John Smith."
    assert [word.start for word in cue.words] == [word.start for word in heard.words]
    (cue,) = cues(said(replace(heard, text="John Smith")), CueLayout())
    assert (cue.start, cue.end, cue.text) == (0.0, 1.5, "John Smith")


def test_all_is_within_the_recording_whatever_a_model_says() -> None:
    words = tuple(Word(4.999, 4.999, f" w{i}", 0.5) for i in range(40))
    late = Segment(4.9, 5.5, "".join(word.text for word in words).strip(), words)
    found = cues(said(spoken("one two three"), late, duration=5.0), CueLayout(20))
    check(found, CueLayout(20), 5.0)
    assert found[-1].end == 5.0
    milliseconds = [round(time * 1000, 6) % 1 for cue in found for time in (cue.start, cue.end)]
    assert set(milliseconds) == {0}


def test_a_gap_parts_cues_that_follow_each_other() -> None:
    found = cues(said(spoken("One two three four. Five six seven eight.")), CueLayout())
    assert [cue.text for cue in found] == ["One two three four.", "Five six seven eight."]
    assert found[1].start - found[0].end == pytest.approx(0.04)


def test_nobody_speaks() -> None:
    assert cues(Transcript((), "en", 1.0, 5.0, 0.0, no_speech=True), CueLayout()) == []
    assert cues(said(Segment(0.0, 1.0, "  ")), CueLayout()) == []
