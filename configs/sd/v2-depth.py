"""Stable Diffusion 2 depth: text and a depth map (v2-midas-inference.yaml).

python scripts/convert.py 512-depth-ema.safetensors RUN --config configs/sd/v2-depth.py
python sample.py RUN --prompt "a bronze statue" --depth D.png [--init-image P.png --strength 0.8]
The depth estimator is not part of this; its weights in the file are kept for export. A folder to
train on has depth maps (docs/stable-diffusion.md). Steps and batch are those of its training (model
card), which started from 2.0 base.
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=512, batch_size=2048),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(head_channels=64, linear_projections=True),
    conditions=(CLIPText(weights="openclip", dim=1024, layers=23, num_heads=16), Depth()),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=50, guidance=9.0),
    optim=Optim(lr=1e-4, warmup=10_000, weight_decay=0.01, clip=None),
    train=Train(steps=200_000),
)
