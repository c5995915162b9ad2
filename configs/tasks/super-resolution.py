"""Shapes from images of 8 x 8 pixels, four times smaller."""

from dataclasses import replace

from configs.tasks.unconditional import config as base
from ldm_jax.config import *

config = replace(base, condition=LowResolution(factor=4))
