"""The starter captioner's training: what it sees, what it must say, how its words are read."""

import numpy as np
import torch

from tools.starter.draw import COLOURS, Scene, picture, plain, scenes, training_set
from tools.starter_captioner.degrade import degrade
from tools.starter_captioner.measure import degraded, drawn, scene_of
from tools.starter_captioner.nets import captioner, processor
from tools.starter_captioner.train import loss_of, tokens


def test_a_caption_is_read_as_the_scene_it_is_of() -> None:
    for scene in scenes()[::97]:
        assert scene_of(scene.caption) == scene
    for other in ("a blue background", "a red red on a blue background", "a red star", ""):
        assert scene_of(other) is None


def test_every_word_of_a_caption_is_one_token_and_no_text_is_unknown() -> None:
    tokenizer = processor().tokenizer
    ids = tokens(processor(), ["a red star on a blue background", "a gray background"])
    assert tokenizer.convert_ids_to_tokens(ids[0].tolist()) == [
        "[DEC]", "a", "red", "star", "on", "a", "blue", "background", "[SEP]",
    ]  # fmt: skip
    assert tokenizer.decode(ids[1], skip_special_tokens=True) == "a gray background"
    assert ids[1].tolist()[-4:] == [tokenizer.pad_token_id] * 4
    assert tokenizer.unk_token_id not in tokenizer("What's on Zoë's 3rd photo?").input_ids


def test_measured_pictures_are_the_same_each_time_and_none_was_trained_on() -> None:
    asked, images = drawn(6)
    again = drawn(6)
    assert asked == again[0]
    assert all(scene.held_out for scene in asked)
    for name, some in {"drawn": images, "degraded": degraded(images)}.items():
        same = again[1] if name == "drawn" else degraded(again[1])
        for one, other in zip(some, same, strict=True):
            assert one.size == (64, 64)
            assert np.array_equal(np.asarray(one), np.asarray(other)), name


def test_a_degraded_picture_keeps_its_colours_and_most_are_changed() -> None:
    torch.manual_seed(4)
    given = torch.from_numpy(np.stack([np.asarray(plain(name)) for name in COLOURS]))
    made = degrade(given.permute(0, 3, 1, 2))
    assert made.dtype == torch.uint8
    difference = (made.float() - given.permute(0, 3, 1, 2).float()).mean((2, 3)).abs()
    assert difference.max() < 30
    assert 6 <= (made != given.permute(0, 3, 1, 2)).any(3).any(2).any(1).sum() <= len(COLOURS)


def test_a_bent_shape_stays_where_it_was() -> None:
    torch.manual_seed(4)
    scene = Scene("black", "square", "white", "small", "on the left")
    given = torch.from_numpy(np.array(picture(scene))).permute(2, 0, 1).expand(40, -1, -1, -1)
    columns = torch.arange(64.0)
    for made in degrade(given):
        dark = (255 - made.float()).clamp(min=64) - 64
        assert 8 < (dark.sum((0, 1)) * columns).sum() / dark.sum() < 24


def test_a_few_steps_on_one_batch_teach_its_captions() -> None:
    torch.manual_seed(0)
    both = processor()
    model = captioner(both.tokenizer)
    pixels, captions = training_set(8, seed=0)
    pictures, ids = torch.from_numpy(pixels).permute(0, 3, 1, 2), tokens(both, captions)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        loss = loss_of(model, both, pictures, ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[0] > 4  # of 5.0, the logarithm of the number of tokens
    assert losses[-1] < losses[0] / 2
