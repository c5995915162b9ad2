"""bsr_sr: Super-resolution x 4, from images of 64 pixels that were degraded as in BSRGAN.

python train.py configs/ldm/bsr_sr.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4.py, trained or converted.
The original's trainer multiplies 1e-6 by the global batch size: lr is that of one device.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=64, crop="random"),
    model=UNet(
        channels=160, channel_mults=(1, 2, 2, 4), attention_factors=(16, 8), head_channels=32
    ),
    conditions=(LowResolution(degradation="bsr"),),
    diffusion=replace(base.diffusion, beta_end=0.0155),
    sampling=Sampling(steps=100, eta=1.0),
    optim=replace(base.optim, lr=6.4e-5),
    train=Train(steps=860_000),
)
