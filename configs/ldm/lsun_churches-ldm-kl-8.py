"""lsun_churches-ldm-kl-8: Unconditional churches of 256 pixels; FID 4.02 with 400 steps of DDIM,
eta 0.

python train.py configs/ldm/lsun_churches-ldm-kl-8.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/kl-f8.py, trained or converted.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=96, flip=True),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale="one",
    model=UNet(
        channels=192,
        channel_mults=(1, 2, 2, 4, 4),
        attention_factors=(1, 2, 4, 8),
        num_heads=8,
        scale_shift=True,
        resample_blocks=True,
    ),
    diffusion=replace(base.diffusion, beta_end=0.0155),
    loss=DiffusionLoss(distance="l1"),
    sampling=Sampling(steps=400, eta=0.0),
    optim=replace(base.optim, lr=5e-5, warmup=10000),
    train=Train(steps=500_000),
)
