"""The starter captioner: what it is made of, how it is trained, packed and measured."""
