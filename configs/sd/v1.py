"""Stable Diffusion 1.1 to 1.5: text to image, 512 pixels (v1-inference.yaml).

python scripts/convert.py v1-5-pruned.safetensors RUN --config configs/sd/v1.py
python sample.py RUN --prompt "a photograph of an astronaut riding a horse"
Steps and batch are those of 1.5's training at this size (model card).
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=512, batch_size=2048),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(),
    conditions=(CLIPText(),),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=50, guidance=7.5),
    optim=Optim(lr=1e-4, warmup=10_000, weight_decay=0.01, clip=None),
    train=Train(steps=595_000),
)
