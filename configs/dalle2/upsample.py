"""The first upsampler of DALL-E 2 (Ramesh et al. 2022, section 2.1), of the size of Karlo
v1.0-alpha: images of 64 pixels to 256. The second, to 1024 pixels, is this with
channels=192, channel_mults=(1, 1, 2, 2, 4, 4), num_res_blocks=2, schedule="linear" and
degradation="bsr"."""

from ldm_jax.config import *

config = Experiment(
    first_stage=FirstStageExperiment(model=Pixels()),
    latent_scale=1.0,
    model=UNet(
        channels=320,
        channel_mults=(1, 2, 3, 4),
        num_res_blocks=3,
        attention_factors=(),
        mid_attention=False,
        resample_blocks=True,
    ),
    conditions=(LowResolution(factor=4, enlarge=True, filter="bicubic", degradation="blur"),),
    diffusion=Diffusion("cosine"),
    sampling=Sampling("ddpm", 7, "linspace"),
    data=Data(image_size=256),
    optim=Optim(lr=1.2e-4),
)
