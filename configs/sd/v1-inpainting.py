"""Stable Diffusion 1.5 inpainting: text and a masked image, 512 pixels (v1-inpainting).

python scripts/convert.py sd-v1-5-inpainting.ckpt RUN --config configs/sd/v1-inpainting.py
python sample.py RUN --prompt "a bench" --init-image P.png --mask M.png
Steps and batch are those of its training (model card), which started from 1.2.
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=512, batch_size=2048),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(),
    conditions=(CLIPText(), Inpainting(form="stable_diffusion")),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=50, guidance=7.5),
    optim=Optim(lr=1e-4, warmup=10_000, weight_decay=0.01, clip=None),
    train=Train(steps=440_000),
)
