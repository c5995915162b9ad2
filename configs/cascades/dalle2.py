"""DALL-E 2: image embeddings of captions, images of 64 pixels of these, enlarged to 256. The runs
are made by scripts/convert.py of a folder of Karlo, or by train.py."""

from ldm_jax.config import *

config = Cascade(
    (
        Stage("runs/karlo/prior", feeds="image_embedding", draws=2),
        Stage("runs/karlo/decoder", feeds="low_resolution"),
        Stage("runs/karlo/upsampler", batch_size=1),
    )
)
