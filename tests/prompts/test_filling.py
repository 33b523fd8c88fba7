"""Templates: places, braces, and columns that are missing or empty."""

import pytest

from mediakit.errors import ItemError
from mediakit.prompts.filling import fill, names


def test_fills_places_and_leaves_json_alone() -> None:
    template = 'As {"a": 1}, {{literal}} {}: {text} ({stars} of 5, {text})'
    assert fill(template, {"text": "good {x}", "stars": 4, "more": 0}) == (
        'As {"a": 1}, {literal} {}: good {x} (4 of 5, good {x})'
    )
    assert names(template) == ["text", "stars"]


def test_a_place_that_no_column_fills() -> None:
    with pytest.raises(ItemError, match=r"\{review\} is no column; there are: text, id") as e:
        fill("Classify {review}", {"text": "a", "id": "1"})
    assert e.value.code == "bad_prompt"


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_a_row_with_nothing_to_ask_about(empty: object) -> None:
    with pytest.raises(ItemError) as e:
        fill("Classify {text}", {"text": empty})
    assert e.value.code == "no_prompt"
    assert fill("{a}-{b}", {"a": empty, "b": 0}).endswith("-0")
    assert fill("no places", {}) == "no places"


def test_a_column_may_be_called_anything() -> None:
    columns = {"état": "bon", "1st": "a", "what (else)?": "b", "x": "c"}
    assert fill("{état} {1st} {what (else)?} {x}", columns) == "bon a b c"
    assert names("{état} {1st} {what (else)?}") == ["état", "1st"]
    assert fill('{"a": 1} {x}', columns) == '{"a": 1} c'
    with pytest.raises(ItemError, match=r"\{2nd\} is no column"):
        fill("{2nd}", columns)
