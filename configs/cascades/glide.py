"""GLIDE: images of 64 pixels of captions, and these enlarged to 256. The runs are made by
scripts/convert.py of base.pt and upsample.pt, with --tokenizer, or by train.py."""

from ldm_jax.config import *

config = Cascade(
    (
        Stage("runs/glide-base", feeds="low_resolution"),
        Stage("runs/glide-upsample", batch_size=1),
    )
)
