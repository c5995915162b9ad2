"""Stable Diffusion 2 inpainting: text and a masked image (v2-inpainting-inference.yaml).

python scripts/convert.py 512-inpainting-ema.safetensors RUN --config configs/sd/v2-inpainting.py
python sample.py RUN --prompt "a bench" --init-image P.png --mask M.png
Steps and batch are those of its training (model card), which started from 2.0 base.
"""

from base import *

config = replace(
    base2,
    conditions=(caption, Inpainting(form="stable_diffusion")),
    train=Train(steps=200_000),
)
