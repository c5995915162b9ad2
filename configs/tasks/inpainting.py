"""Inpainting of shapes."""

from dataclasses import replace

from configs.tasks.unconditional import config as base
from ldm_jax.config import *

config = replace(
    base,
    conditions=(Inpainting(),),
    model=replace(base.model, channels=48, attention_factors=(2,)),
    data=replace(base.data, batch_size=16),
    train=replace(base.train, steps=2000, save_every=500),
)
