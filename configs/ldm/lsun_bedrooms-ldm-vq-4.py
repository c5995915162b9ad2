"""lsun_bedrooms-ldm-vq-4: Unconditional bedrooms of 256 pixels; FID 2.95 with 200 steps of DDIM,
eta 1.

python train.py configs/ldm/lsun_bedrooms-ldm-vq-4.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4.py, trained or converted.
The original's trainer multiplies 2e-6 by the global batch size: lr is that of one device.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=48, flip=True),
    model=UNet(
        channels=224, channel_mults=(1, 2, 3, 4), attention_factors=(8, 4, 2), head_channels=32
    ),
    sampling=Sampling(steps=200, eta=1.0),
    optim=replace(base.optim, lr=9.6e-5),
    train=Train(steps=1_900_000),
)
