"""layout2img-openimages256: Images of boxes with classes, 256 pixels; FID 32.02 on OpenImages.

python train.py configs/ldm/layout2img-openimages256.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4.py, trained or converted.
The original's trainer multiplies 2e-6 by the global batch size: lr is that of one device.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=24),
    model=UNet(
        channels=128,
        channel_mults=(1, 2, 3, 4),
        attention_factors=(8, 4, 2),
        head_channels=32,
        transformer_depth=3,
    ),
    conditions=(Layout(num_classes=601, drop=0.0),),
    diffusion=replace(base.diffusion, beta_end=0.0205),
    loss=DiffusionLoss(distance="l1"),
    sampling=Sampling(steps=200, eta=0.0),
    optim=replace(base.optim, lr=4.8e-5),
    train=Train(steps=4_400_000),
)
