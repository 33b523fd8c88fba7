from mediakit.media.captions import STOCK, first_words, joined, stripped, word_count


def test_stock_phrases_are_taken_off_the_beginning() -> None:
    for said, left in (
        ("a picture of a red circle", "a red circle"),
        ("An image  of a dog", "a dog"),
        ("there is a man riding a horse", "a man riding a horse"),
        ("arafed image of a woman", "a woman"),
        ("arafed woman sitting", "woman sitting"),
        ("In this image, we can see a cat", "a cat"),
        ("there is a picture of a dog", "a dog"),
        ("a pictured dog", "a pictured dog"),
        ("there isle", "there isle"),
        ("a drawing of a picture of a dog", "a drawing of a picture of a dog"),
        ("a picture of", ""),
    ):
        assert stripped(said, STOCK) == left
    assert stripped("sks dog on grass", ("sks dog",)) == "on grass"
    assert stripped("two\n words", ()) == "two words"


def test_words_are_counted_while_they_are_written() -> None:
    assert word_count("a picture", STOCK) == 0  # it may become "a picture of"
    assert word_count("a picture of", STOCK) == 0
    assert word_count("a picture of a red", STOCK) == 2
    assert word_count("a red circle") == 3
    assert word_count("") == 0


def test_first_words() -> None:
    assert first_words("a b c", 2) == "a b"
    assert first_words("a  b", None) == "a  b"


def test_a_caption_is_put_behind_what_is_there_once() -> None:
    assert joined("", "a dog", ", ") == "a dog"
    assert joined("  \n", "a dog", ", ") == "a dog"
    assert joined("tag one, tag two\n", "a dog", ", ") == "tag one, tag two, a dog"
    assert joined("tag one, a dog\n", "a dog", ", ") == "tag one, a dog"
    assert joined("a dog\n", "a dog", ", ") == "a dog"
    assert joined("not a dog", "a dog", "\n") == "not a dog\na dog"


def test_a_caption_takes_the_place_of_the_earlier_one() -> None:
    assert joined("tags, a dog\n", "a cat", ", ", "a dog") == "tags, a cat"
    assert joined("a dog, and mine", "a cat", ", ", "a dog") == "a cat, and mine"
    assert joined("a dog, a dog", "a cat", ", ", "a dog") == "a dog, a cat"
    assert joined("a dogma", "a cat", ", ", "a dog") is None
    assert joined("edited", "a cat", ", ", "a dog") is None
    assert joined("a (dog)?", "a cat", ", ", "a (dog)?") == "a cat"
