"""What the models of GLIDE share (Nichol et al. 2022; openai/glide-text2im): the base model at 64
pixels. The tokenizer, a folder with GPT-2's encoder.json and vocab.bpe, is
--conditions.0.tokenizer."""

from ldm_jax.config import *

base = Experiment(
    first_stage=FirstStageExperiment(model=Pixels()),
    latent_scale=1.0,
    model=UNet(
        channels=192,
        channel_mults=(1, 2, 3, 4),
        num_res_blocks=3,
        attention_factors=(2, 4, 8),
        head_channels=64,
        scale_shift=True,
        resample_blocks=True,
        joint_attention=True,
    ),
    conditions=(GLIDEText(),),
    diffusion=Diffusion("cosine", beta_start=1e-4, beta_end=0.02, learned_variance=True),
    loss=DiffusionLoss(kind="hybrid"),
    sampling=Sampling("ddpm", 100, "linspace", guidance=3.0),
    data=Data(image_size=64),
    optim=Optim(lr=1e-4),
)

upsample = replace(
    base,
    model=replace(
        base.model,
        channel_mults=(1, 1, 2, 2, 4, 4),
        num_res_blocks=2,
        attention_factors=(8, 16, 32),
    ),
    conditions=(GLIDEText(), LowResolution(factor=4, enlarge=True)),
    diffusion=replace(base.diffusion, schedule="linear"),
    sampling=Sampling("ddim", 27, times=FAST27, noise_scale=0.997),
    data=Data(image_size=256),
)
