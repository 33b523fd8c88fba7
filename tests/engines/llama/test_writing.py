"""Text as it may be shown: whole characters, and nothing of a stop sequence."""

import pytest

from mediakit.engines.llama.writing import Writer


def write(pieces: list[bytes], *stop: str) -> tuple[list[str], Writer]:
    """What is shown after each piece, up to the stop."""
    writer = Writer(stop)
    shown = []
    for piece in pieces:
        shown.append(writer.push(piece))
        if writer.stopped:
            return shown, writer
    return [*shown, writer.finish(cut=False)], writer


def test_a_character_comes_whole() -> None:
    shown, writer = write([b"a\xf0\x9f", b"\x8e", b"\x89b"])
    assert shown == ["a", "", "🎉b", ""]
    assert writer.text == "a🎉b"


def test_what_is_no_character_is_replaced() -> None:
    shown, writer = write([b"a\xff", b"b", b"\xe2\x82"])
    assert shown == ["a\ufffd", "b", "", "\ufffd"]
    assert writer.text == "a\ufffdb\ufffd"


def test_of_a_text_that_was_cut_the_begun_character_is_left_out() -> None:
    writer = Writer(["END"])
    assert writer.push(b"a\xff E\xf0\x9f") == "a\ufffd "
    assert writer.finish(cut=True) == "E"
    assert writer.text == "a\ufffd E"


def test_a_stop_sequence_may_span_tokens() -> None:
    shown, writer = write([b"one ", b"E", b"ND two"], "END")
    assert shown == ["one ", "", ""]
    assert writer.stopped and writer.text == "one "


def test_what_only_began_like_one_is_shown_later() -> None:
    shown, writer = write([b"xEN", b"EN", b"E", b"!"], "END")
    assert shown == ["x", "EN", "EN", "E!", ""]
    assert not writer.stopped


def test_it_is_shown_at_the_end_too() -> None:
    shown, writer = write([b"xEN"], "END")
    assert shown == ["x", "EN"]
    assert writer.text == "xEN"


@pytest.mark.parametrize("stop", [("b", "ab"), ("ab", "b")])
def test_of_several_the_first_in_the_text_ends_it(stop: tuple[str, str]) -> None:
    assert write([b"xxabyy"], *stop)[1].text == "xx"


def test_a_stop_sequence_of_several_bytes_a_character() -> None:
    shown, writer = write([b"ja \xe3\x80", b"\x82 nein"], "。")
    assert shown == ["ja ", ""]
    assert writer.stopped


def test_an_empty_one_stops_nothing() -> None:
    assert write([b"abc"], "")[1].text == "abc"
