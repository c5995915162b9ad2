"""Stable Diffusion 1.5 inpainting: text and a masked image, 512 pixels (v1-inpainting).

python scripts/convert.py sd-v1-5-inpainting.ckpt RUN --config configs/sd/v1-inpainting.py
python sample.py RUN --prompt "a bench" --init-image P.png --mask M.png
Steps and batch are those of its training (model card), which started from 1.2.
"""

from base import *

config = replace(
    base,
    conditions=(CLIPText(), Inpainting(form="stable_diffusion")),
    train=Train(steps=440_000),
)
