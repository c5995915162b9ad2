"""inpainting_big: inpainting of Places, 512 pixels and others, trained on 256.

python train.py configs/ldm/inpainting_big.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4-noattn.py, trained or converted.
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=256, batch_size=128),
    first_stage=FirstStageExperiment(model=VQAutoencoder(mid_attention=False)),
    latent_scale=1.0,
    model=UNet(
        channels=256,
        channel_mults=(1, 2, 3, 4),
        attention_factors=(8, 4, 2),
        num_heads=8,
        resample_blocks=True,
    ),
    conditions=(Inpainting(),),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.0015, beta_end=0.0205),
    loss=DiffusionLoss(distance="l1"),
    sampling=Sampling(steps=50),
    optim=Optim(lr=1e-6, warmup=1000, weight_decay=0.01, clip=None),
    train=Train(steps=360_000),
)
