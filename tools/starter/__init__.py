"""The starter text-to-image model: how its pictures are drawn, how it is trained and measured."""
