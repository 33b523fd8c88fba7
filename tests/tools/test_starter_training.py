"""The starter model's training, in small: it goes on where it stopped."""

from pathlib import Path

import pytest
import torch

from tools.starter import nets
from tools.starter.muon import Muon
from tools.starter.run import Run
from tools.starter.tokenizer import starter_tokenizer
from tools.starter.train_unet import BATCH, batch, weights_of
from tools.starter.train_vae import NOISE, standardize


def _net() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Flatten(), torch.nn.Linear(12, 1))


def _train(folder: Path, stop: int) -> torch.nn.Module:
    net = _net()
    run = Run(folder, {"net": net}, steps=10, every=4)
    while run.step < stop:
        run.update(net(torch.randn(2, 1, 4, 4)).square().mean())
    return net


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    torch.manual_seed(5)
    whole = _train(tmp_path / "whole", 10).state_dict()
    torch.manual_seed(5)
    # _net() seeds too, so both start alike; the checkpoint brings the random state of step 4
    _train(tmp_path / "cut", 6)
    torch.manual_seed(99)
    resumed = _train(tmp_path / "cut", 10).state_dict()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    assert not torch.equal(whole["0.weight"], _net().state_dict()["0.weight"])


def test_averaged_weights_are_put_in_and_taken_out(tmp_path: Path) -> None:
    net = _net()
    run = Run(tmp_path, {"net": net}, steps=20, every=100)
    for _ in range(8):
        run.update((net(torch.ones(2, 1, 4, 4)) - 1).square().mean())
    trained = net[0].weight.clone()
    with run.averaged():
        averaged = net[0].weight.clone()
    assert torch.equal(net[0].weight, trained)
    assert not torch.equal(averaged, trained)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 3, 3, 3)])
def test_muon_moves_by_an_orthogonal_matrix(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape)
    Muon([weight], lr=1.0).step()
    update = -weight.detach().reshape(len(weight), -1)
    scale = max(1, update.shape[0] / update.shape[1]) ** 0.5
    singular = torch.linalg.svdvals(update) / scale
    assert 0.6 < singular.min() <= singular.max() < 1.3  # the iteration's known range


def test_latents_are_standardized_and_pictures_stay() -> None:
    torch.manual_seed(0)
    vae = nets.autoencoder().eval()
    pictures = torch.rand(4, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(pictures).latent_dist.mean).sample
        spread = vae.encode(pictures).latent_dist.mean.std((0, 2, 3))
        standardize(vae, pictures)
        latents = vae.encode(pictures).latent_dist
        after = vae.decode(latents.mean).sample
    torch.testing.assert_close(latents.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.mean.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std[0, :, 0, 0], NOISE / spread)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_a_caption_is_one_token_a_word_and_other_words_are_letters() -> None:
    tokenizer = starter_tokenizer()
    words = ["a", "large", "red", "star", "on", "the", "left", "on", "a", "blue", "background"]
    assert tokenizer.tokenize(" ".join(words)) == [f"{word}</w>" for word in words]
    assert tokenizer.tokenize("zu") == ["z", "u</w>"]
    assert tokenizer.model_max_length == 77


def test_a_batch_is_half_jittered_and_half_exact() -> None:
    tables = [
        (torch.full((30, 4, 2, 2), value), torch.full((30, 77), index), torch.ones(30, 1, 2, 2))
        for index, value in enumerate((-1.0, 1.0))
    ]
    latents, ids, weights = batch(tables)
    assert latents[:, 0, 0, 0].tolist() == [-1.0] * (BATCH // 2) + [1.0] * (BATCH // 2)
    assert ids[:, 0].tolist() == [0] * (BATCH // 2) + [1] * (BATCH // 2)
    assert weights.shape == (BATCH, 1, 2, 2)


def test_errors_count_most_where_the_caption_puts_the_shape() -> None:
    weights = weights_of("a small red star on the left on a blue background")
    assert weights.shape == (1, 16, 16)
    assert weights.mean() == pytest.approx(1)
    assert weights[0, 8, 3] == weights.max() > 2 * weights[0, 8, 12]
    assert torch.equal(weights_of("a blue background"), torch.ones(1, 16, 16))
    assert torch.equal(weights_of("a red star"), weights_of("a blue moon on a red background"))
