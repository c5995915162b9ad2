"""What the latent diffusion models of 256 pixels share (Rombach et al. 2022)."""

from ldm_jax.config import *

base = Experiment(
    data=Data(image_size=256),
    first_stage=FirstStageExperiment(model=VQAutoencoder()),
    latent_scale=1.0,
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195),
    loss=DiffusionLoss(distance="l2"),
    optim=Optim(lr=1e-4, weight_decay=0.01, clip=None),
)
