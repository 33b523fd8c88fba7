"""A weight is read off the end of a LoRA's name, and nothing else is."""

import pytest

from mediakit.models.adapters import split_weight


@pytest.mark.parametrize(
    ("text", "name", "weight"),
    [
        ("pixel.safetensors", "pixel.safetensors", 1.0),
        ("pixel.safetensors:0.8", "pixel.safetensors", 0.8),
        ("pixel:-0.5", "pixel", -0.5),
        ("pixel:0", "pixel", 0.0),
        ("pixel:+.25", "pixel", 0.25),
        ("pixel:1e-1", "pixel", 0.1),
        ("loras/v1.0:2", "loras/v1.0", 2.0),
        ("hf:org/repo/a.safetensors", "hf:org/repo/a.safetensors", 1.0),
        ("hf:org/repo@v1.0/a.safetensors:0.7", "hf:org/repo@v1.0/a.safetensors", 0.7),
        ("hf:org/repo:0.7", "hf:org/repo", 0.7),
        ("https://host/a.safetensors:1.2", "https://host/a.safetensors", 1.2),
        ("https://host:8080/a.safetensors", "https://host:8080/a.safetensors", 1.0),
        ("https://host:8080/a.safetensors:0.5", "https://host:8080/a.safetensors", 0.5),
        ("https://host:8080", "https://host:8080", 1.0),
        (r"C:\loras\a.safetensors", r"C:\loras\a.safetensors", 1.0),
        (r"C:\loras\a.safetensors:0.5", r"C:\loras\a.safetensors", 0.5),
        ("C:/loras/a.safetensors:-1", "C:/loras/a.safetensors", -1.0),
        ("a:b.safetensors", "a:b.safetensors", 1.0),
        ("a:0.5:0.5", "a:0.5", 0.5),
        ("two\nlines:0.5", "two\nlines", 0.5),
    ],
)
def test_names_and_weights(text, name, weight):
    assert split_weight(text) == (name, weight)


def test_a_default_weight():
    assert split_weight("style", default=0.6) == ("style", 0.6)
    assert split_weight("style:1", default=0.6) == ("style", 1.0)


@pytest.mark.parametrize("text", ["", " ", " :0.5", "a:1e999"])
def test_what_is_no_name_or_no_weight(text):
    with pytest.raises(ValueError, match="expected a"):
        split_weight(text)
