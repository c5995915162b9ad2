"""Stable Diffusion 2.0 and 2.1: text to image, 768 pixels, v-prediction (v2-inference-v.yaml).

python scripts/convert.py v2-1_768-ema-pruned.safetensors RUN --config configs/sd/v2.py
python sample.py RUN --prompt "a photograph of an astronaut riding a horse"
Steps and batch are those of 2.0's training at this size (model card).
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=768, batch_size=2048),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(head_channels=64, linear_projections=True),
    conditions=(CLIPText(weights="openclip", dim=1024, layers=23, num_heads=16),),
    diffusion=Diffusion(
        schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction="v"
    ),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=50, guidance=9.0),
    optim=Optim(lr=1e-4, warmup=10_000, weight_decay=0.01, clip=None),
    train=Train(steps=140_000),
)
