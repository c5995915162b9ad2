"""Stable Diffusion's upscaler: text and a small image, four times as large (x4-upscaling.yaml).

python scripts/convert.py x4-upscaler-ema.safetensors RUN --config configs/sd/x4-upscaler.py
python sample.py RUN --prompt "a white cat" --low-resolution P.png --size 512 512 [--noise-level 20]
Steps, batch and crop size are those of its training (model card).
"""

from base import *

config = replace(
    base2,
    data=replace(base.data, crop="random"),
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
    conditions=(caption, LowResolution(max_noise=350)),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.0001, beta_end=0.02, prediction="v"),
    train=Train(steps=1_250_000),
)
