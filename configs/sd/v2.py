"""Stable Diffusion 2.0 and 2.1: text to image, 768 pixels, v-prediction (v2-inference-v.yaml).

python scripts/convert.py v2-1_768-ema-pruned.safetensors RUN --config configs/sd/v2.py
python sample.py RUN --prompt "a photograph of an astronaut riding a horse"
Steps and batch are those of 2.0's training at this size (model card).
"""

from base import *

config = replace(
    base2,
    data=replace(base.data, image_size=768),
    diffusion=velocity,
    train=Train(steps=140_000),
)
