"""Shapes from the embeddings of similar images, a .npy [20000, 768].

python train.py configs/tasks/retrieval.py --condition.embeddings FILE.npy
"""

from dataclasses import replace

from configs.tasks.unconditional import config as base
from ldm_jax.config import *

config = replace(base, conditions=(Retrieval(dim=768, neighbours=4),))
