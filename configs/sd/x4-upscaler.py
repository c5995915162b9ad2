"""Stable Diffusion's upscaler: text and a small image, four times as large (x4-upscaling.yaml).

python scripts/convert.py x4-upscaler-ema.safetensors RUN --config configs/sd/x4-upscaler.py
python sample.py RUN --prompt "a white cat" --low-resolution P.png --size 512 512 [--noise-level 20]
Steps, batch and crop size are those of its training (model card).
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=512, batch_size=2048, crop="random"),
    first_stage=FirstStageExperiment(model=KLAutoencoder(channel_mults=(1, 2, 4))),
    latent_scale=0.08333,
    model=UNet(
        channels=256,
        channel_mults=(1, 2, 2, 4),
        attention_factors=(2, 4, 8),
        cross_only_factors=(2, 4),
        linear_projections=True,
        vector_entries=1000,
    ),
    conditions=(
        CLIPText(weights="openclip", dim=1024, layers=23, num_heads=16),
        LowResolution(max_noise=350),
    ),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.0001, beta_end=0.02, prediction="v"),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=50, guidance=9.0),
    optim=Optim(lr=1e-4, warmup=10_000, weight_decay=0.01, clip=None),
    train=Train(steps=1_250_000),
)
