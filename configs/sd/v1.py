"""Stable Diffusion 1.1 to 1.5: text to image, 512 pixels (v1-inference.yaml).

python scripts/convert.py v1-5-pruned.safetensors RUN --config configs/sd/v1.py
python sample.py RUN --prompt "a photograph of an astronaut riding a horse"
Steps and batch are those of 1.5's training at this size (model card).
"""

from base import *

config = replace(base, train=Train(steps=595_000))
