"""What the configs of Stable Diffusion share: version 1 at 512 pixels, and version 2."""

from ldm_jax.config import *

base = Experiment(
    data=Data(image_size=512, batch_size=2048),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(),
    conditions=(CLIPText(),),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=50, guidance=7.5),
    optim=Optim(lr=1e-4, warmup=10_000, weight_decay=0.01, clip=None),
)
caption = CLIPText(weights="openclip", dim=1024, layers=23, num_heads=16)  # of version 2
base2 = replace(
    base,
    model=UNet(head_channels=64, linear_projections=True),
    conditions=(caption,),
    sampling=Sampling(steps=50, guidance=9.0),
)
velocity = replace(base.diffusion, prediction="v")
unclip = replace(  # of 2.1
    base2,
    data=replace(base.data, image_size=768),
    diffusion=velocity,
    sampling=Sampling(steps=20, guidance=10.0),
    train=Train(steps=140_000),
)
