"""Stable Diffusion 2.0 and 2.1 base: text to image, 512 pixels (v2-inference.yaml).

python scripts/convert.py v2-1_512-ema-pruned.safetensors RUN --config configs/sd/v2-base.py
python sample.py RUN --prompt "a photograph of an astronaut riding a horse"
Steps and batch are those of 2.0's training at this size (model card).
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=512, batch_size=2048),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(head_channels=64, linear_projections=True),
    conditions=(CLIPText(weights="openclip", dim=1024, layers=23, num_heads=16),),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=50, guidance=9.0),
    optim=Optim(lr=1e-4, warmup=10_000, weight_decay=0.01, clip=None),
    train=Train(steps=850_000),
)
