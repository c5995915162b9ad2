"""Unconditional, 64 pixels: any folder of images. A start to adapt: see ldm_jax/config.py.

python train.py configs/folder.py --data.path FOLDER
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(path="data/images", image_size=64, batch_size=64, crop="random", flip=True),
    first_stage=FirstStageExperiment(
        model=KLAutoencoder(channels=64, channel_mults=(1, 2, 4), num_res_blocks=1, z_channels=4),
        data=Data(batch_size=32),
        optim=Optim(lr=3e-4, schedule="cosine", warmup=500, clip=None, ema_decay=0.999),
        train=Train(steps=20_000),
    ),
    model=UNet(
        channels=128,
        channel_mults=(1, 2, 2),
        num_res_blocks=2,
        attention_factors=(2, 4),
        head_channels=32,
    ),
    conditions=(),
    diffusion=Diffusion(schedule="cosine", prediction="v"),
    sampling=Sampling(steps=50, spacing="trailing"),
    optim=Optim(lr=2e-4, warmup=1000, ema_decay=0.9999),
    train=Train(steps=100_000),
)
