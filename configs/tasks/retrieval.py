"""Shapes from the embeddings of similar images, a .npy [20000, 768].

python train.py configs/tasks/retrieval.py --conditions.0.embeddings FILE.npy
"""

from base import *

config = replace(base, conditions=(Retrieval(dim=768, neighbours=4),))
