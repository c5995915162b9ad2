"""Stable Diffusion image variations: CLIP's image embedding, 512 pixels.

python scripts/convert.py sd-image-variations-diffusers RUN
python sample.py RUN --image P.png --num 4 --guidance 3
Version 1 fine-tuned with one token instead of a caption, the image embedding of OpenAI's ViT-L/14;
batch, rate and steps are those of the first weights. A file of the original layout is converted
with this config.
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=512, batch_size=24),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(),
    conditions=(CLIPImage(),),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=50, guidance=7.5),
    optim=Optim(lr=1e-4, warmup=1_000, weight_decay=0.01, clip=None),
    train=Train(steps=87_000),
)
