"""Stable Diffusion 2.1 unCLIP, small: text and CLIP's image embedding (ViT-L/14), 768 pixels.

python scripts/convert.py sd21-unclip-l.ckpt RUN --config configs/sd/v2-1-unclip-small.py
python sample.py RUN --image P.png [--prompt "in the snow"] [--noise-level 100]
v2-1-stable-unclip-l-inference.yaml. Training settings are those of 2.1, from which it was
fine-tuned. Files of the original layout lack the mean and standard deviation of embeddings; a
folder of diffusers has them, in image_normalizer.
"""

from base import *

config = replace(
    unclip,
    model=replace(base2.model, vector_dim=1536),
    conditions=(caption, UnCLIP(weights="openai", channels=1024, layers=24, dim=768)),
)
