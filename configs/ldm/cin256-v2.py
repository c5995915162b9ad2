"""cin256-v2: Classes of ImageNet, 256 pixels; FID 3.60 with guidance 1.5.

python train.py configs/ldm/cin256-v2.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4.py, trained or converted.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=1200, crop="random", flip=True),
    model=UNet(channels=192, channel_mults=(1, 2, 3, 5), attention_factors=(8, 4, 2), num_heads=1),
    conditions=(Label(num_classes=1000),),
    sampling=Sampling(steps=250, guidance=1.5, eta=1.0),
    train=Train(steps=178_000),
)
