"""lsun_bedrooms-ldm-vq-4: Unconditional bedrooms of 256 pixels; FID 2.95 with 200 steps of DDIM,
eta 1.

python train.py configs/ldm/lsun_bedrooms-ldm-vq-4.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4.py, trained or converted.
The original's trainer multiplies 2e-6 by the global batch size: lr is that of one device.
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=256, batch_size=48, flip=True),
    first_stage=FirstStageExperiment(model=VQAutoencoder()),
    latent_scale=1.0,
    model=UNet(
        channels=224, channel_mults=(1, 2, 3, 4), attention_factors=(8, 4, 2), head_channels=32
    ),
    conditions=(),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=200, eta=1.0),
    optim=Optim(lr=9.6e-5, weight_decay=0.01, clip=None),
    train=Train(steps=1_900_000),
)
