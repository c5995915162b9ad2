"""Stable Diffusion 2 depth: text and a depth map (v2-midas-inference.yaml).

python scripts/convert.py 512-depth-ema.safetensors RUN --config configs/sd/v2-depth.py
python sample.py RUN --prompt "a bronze statue" --depth D.png [--init-image P.png --strength 0.8]
The depth estimator is not part of this; its weights in the file are kept for export. A folder to
train on has depth maps (docs/stable-diffusion.md). Steps and batch are those of its training (model
card), which started from 2.0 base.
"""

from base import *

config = replace(base2, conditions=(caption, Depth()), train=Train(steps=200_000))
