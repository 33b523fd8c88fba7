"""The starter model's world: drawn the same each time, and readable by the judge."""

import random

import numpy as np
import pytest

from tools.starter.draw import COLOURS, SHAPES, SIZES, Scene, picture, plain, scenes, training_set
from tools.starter.judge import agrees, look


def test_a_seed_draws_the_same_pictures_again() -> None:
    first, captions = training_set(40, seed=1)
    again, same = training_set(40, seed=1)
    other, _ = training_set(40, seed=2)
    assert np.array_equal(first, again)
    assert captions == same
    assert not np.array_equal(first, other)
    assert first.shape == (40, 64, 64, 3)


def test_exact_pictures_are_drawn_as_named() -> None:
    pictures, captions = training_set(60, seed=1, exact=True)
    named = {scene.caption: scene for scene in scenes()}
    whole = [i for i, caption in enumerate(captions) if caption in named]
    assert len(whole) > 40
    for index in whole:
        assert np.array_equal(pictures[index], np.asarray(picture(named[captions[index]])))


def test_a_caption_says_size_colour_shape_place_and_background() -> None:
    scene = Scene("red", "star", "blue", "large", "on the left")
    assert scene.caption == "a large red star on the left on a blue background"
    assert Scene("red", "star", "blue").caption == "a red star on a blue background"


def test_no_scene_that_is_held_out_is_trained_on() -> None:
    held_out = {scene.caption for scene in scenes() if scene.held_out}
    _, captions = training_set(2000, seed=1)
    assert len(held_out) == 1811
    assert held_out.isdisjoint(captions)
    assert len(set(captions)) > 1500


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_the_judge_reads_what_was_drawn(shape: str, size: str) -> None:
    rng = random.Random(f"{shape}{size}")
    for place in ("", "on the left"):
        colour, background = rng.sample(list(COLOURS), 2)
        scene = Scene(colour, shape, background, size, place)
        seen = look(np.asarray(picture(scene, rng)))
        assert agrees(seen, scene) == (True, True), (scene, seen)


def test_the_judge_sees_nothing_where_nothing_is() -> None:
    seen = look(np.asarray(plain("green")))
    assert (seen.background, seen.colour, seen.shape) == ("green", None, None)


def test_the_judge_calls_no_blot_a_shape() -> None:
    pixels = np.asarray(plain("white")).copy()
    pixels[10:54:2, 20:30] = COLOURS["red"]  # stripes
    seen = look(pixels)
    assert (seen.colour, seen.shape) == ("red", None)


def test_a_place_is_where_the_caption_says() -> None:
    middle = {}
    for place in ("on the left", "on the right", "at the top", "at the bottom"):
        drawn = np.asarray(picture(Scene("black", "circle", "white", "small", place)))
        rows, columns = np.nonzero(drawn[..., 0] < 128)
        middle[place] = rows.mean(), columns.mean()
    assert middle["on the left"][1] < 20 < 44 < middle["on the right"][1]
    assert middle["at the top"][0] < 20 < 44 < middle["at the bottom"][0]
