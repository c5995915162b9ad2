"""Stable Diffusion 2.1 unCLIP, small: text and CLIP's image embedding (ViT-L/14), 768 pixels.

python scripts/convert.py sd21-unclip-l.ckpt RUN --config configs/sd/v2-1-unclip-small.py
python sample.py RUN --image P.png [--prompt "in the snow"] [--noise-level 100]
v2-1-stable-unclip-l-inference.yaml. Training settings are those of 2.1, from which it was
fine-tuned. Files of the original layout lack the mean and standard deviation of embeddings; a
folder of diffusers has them, in image_normalizer.
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=768, batch_size=2048),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(head_channels=64, linear_projections=True, vector_dim=1536),
    conditions=(
        CLIPText(weights="openclip", dim=1024, layers=23, num_heads=16),
        UnCLIP(weights="openai", channels=1024, layers=24, dim=768),
    ),
    diffusion=Diffusion(
        schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction="v"
    ),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=20, guidance=10.0),
    optim=Optim(lr=1e-4, warmup=10_000, weight_decay=0.01, clip=None),
    train=Train(steps=140_000),
)
