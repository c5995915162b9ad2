"""Shapes of which a part is missing."""

from dataclasses import replace

from configs.tasks.unconditional import config as base
from ldm_jax.config import *

config = replace(base, condition=Inpainting())
