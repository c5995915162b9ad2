"""celebahq-ldm-vq-4: Unconditional faces of 256 pixels; FID 5.11 with 200 steps of DDIM, eta 0.

python train.py configs/ldm/celebahq-ldm-vq-4.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4.py, trained or converted.
The original's trainer multiplies 2e-6 by the global batch size: lr is that of one device.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=48),
    model=UNet(
        channels=224, channel_mults=(1, 2, 3, 4), attention_factors=(8, 4, 2), head_channels=32
    ),
    sampling=Sampling(steps=200, eta=0.0),
    optim=replace(base.optim, lr=9.6e-5),
    train=Train(steps=410_000),
)
