"""Stable Diffusion 2.0 and 2.1 base: text to image, 512 pixels (v2-inference.yaml).

python scripts/convert.py v2-1_512-ema-pruned.safetensors RUN --config configs/sd/v2-base.py
python sample.py RUN --prompt "a photograph of an astronaut riding a horse"
Steps and batch are those of 2.0's training at this size (model card).
"""

from base import *

config = replace(base2, train=Train(steps=850_000))
