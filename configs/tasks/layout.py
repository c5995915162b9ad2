"""Shapes from boxes with classes."""

from base import *

config = replace(
    base,
    conditions=(
        Layout(max_objects=3, vocab_size=300, dim=128, layers=2, num_heads=4, head_dim=32),
    ),
    sampling=replace(base.sampling, guidance=2.0),
    train=replace(base.train, steps=4000, save_every=1000),
)
