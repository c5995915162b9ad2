"""semantic_synthesis256: Images of semantic maps with 182 classes, 256 pixels.

python train.py configs/ldm/semantic_synthesis256.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4.py, trained or converted.
The original's trainer multiplies 1e-6 by the global batch size: lr is that of one device.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=48),
    model=UNet(channels=128, channel_mults=(1, 4, 8), attention_factors=(32, 16, 8), num_heads=8),
    conditions=(SemanticMap(drop=0.0),),
    diffusion=replace(base.diffusion, beta_end=0.0205),
    loss=DiffusionLoss(distance="l1"),
    sampling=Sampling(steps=200, eta=1.0),
    optim=replace(base.optim, lr=4.8e-5),
    train=Train(steps=360_000),
)
