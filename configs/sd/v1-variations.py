"""Stable Diffusion image variations: CLIP's image embedding, 512 pixels.

python scripts/convert.py sd-image-variations-diffusers RUN
python sample.py RUN --image P.png --num 4 --guidance 3
Version 1 fine-tuned with one token instead of a caption, the image embedding of OpenAI's ViT-L/14;
batch, rate and steps are those of the first weights. A file of the original layout is converted
with this config.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=24),
    conditions=(CLIPImage(),),
    optim=replace(base.optim, warmup=1_000),
    train=Train(steps=87_000),
)
