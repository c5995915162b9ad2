"""Stable Diffusion 2.1 unCLIP: text and CLIP's image embedding (ViT-H/14), 768 pixels, v.

python scripts/convert.py sd21-unclip-h.ckpt RUN --config configs/sd/v2-1-unclip.py
python sample.py RUN --image P.png [--prompt "in the snow"] [--noise-level 100]
v2-1-stable-unclip-h-inference.yaml. Training settings are those of 2.1, from which it was
fine-tuned.
"""

from base import *

config = replace(
    unclip,
    model=replace(base2.model, vector_dim=2048),
    conditions=(caption, UnCLIP()),
)
