"""cin-ldm-vq-f8: Classes of ImageNet, 256 pixels; no class for none, so no guidance.

python train.py configs/ldm/cin-ldm-vq-f8.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f8.py, trained or converted.
The original's trainer multiplies 1e-6 by the global batch size: lr is that of one device.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=64, crop="random", flip=True),
    first_stage=FirstStageExperiment(
        model=VQAutoencoder(
            channel_mults=(1, 2, 2, 4), z_channels=4, codebook_size=16384, attention_factors=(8,)
        ),
    ),
    model=UNet(
        channels=256, channel_mults=(1, 2, 4), attention_factors=(4, 2, 1), head_channels=32
    ),
    conditions=(Label(num_classes=1000, null=False, drop=0.0),),
    sampling=Sampling(steps=200, eta=1.0),
    optim=replace(base.optim, lr=6.4e-5),
    train=Train(steps=500_000),
)
