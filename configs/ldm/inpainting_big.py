"""inpainting_big: inpainting of Places, 512 pixels and others, trained on 256.

python train.py configs/ldm/inpainting_big.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4-noattn.py, trained or converted.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=128),
    first_stage=FirstStageExperiment(model=VQAutoencoder(mid_attention=False)),
    model=UNet(
        channels=256,
        channel_mults=(1, 2, 3, 4),
        attention_factors=(8, 4, 2),
        num_heads=8,
        resample_blocks=True,
    ),
    conditions=(Inpainting(),),
    diffusion=replace(base.diffusion, beta_end=0.0205),
    loss=DiffusionLoss(distance="l1"),
    sampling=Sampling(steps=50),
    optim=replace(base.optim, lr=1e-6, warmup=1000),
    train=Train(steps=360_000),
)
