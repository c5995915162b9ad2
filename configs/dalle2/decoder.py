"""The decoder of DALL-E 2 (Ramesh et al. 2022, section 2.1), of the size of Karlo v1.0-alpha:
images of 64 pixels of CLIP's embeddings and captions. --conditions.0.file and --conditions.1.file
are CLIP's weights."""

from ldm_jax.config import *

config = Experiment(
    first_stage=FirstStageExperiment(model=Pixels()),
    latent_scale=1.0,
    model=UnCLIPDecoder(),
    conditions=(CLIPCaption(drop=0.1, drop_alone=0.5), EmbeddedImage(drop=0.1)),
    diffusion=Diffusion("cosine", learned_variance=True),
    loss=DiffusionLoss(kind="hybrid"),
    sampling=Sampling("ddpm", 50, "linspace", guidance=8.0),
    data=Data(image_size=64),
    optim=Optim(lr=1.2e-4),
)
