"""Drawn faces with captions, both stages in minutes on a core (docs/adapters/instant-id.md).

python benchmarks/faces.py draw faces
python train.py configs/faces.py
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(path="faces", image_size=32, batch_size=8),
    first_stage=FirstStageExperiment(
        model=KLAutoencoder(
            channels=16,
            channel_mults=(1, 2, 4),
            num_res_blocks=1,
            mid_attention=False,
            z_channels=4,
            norm_groups=4,
        ),
        loss=AutoencoderLoss(reconstruction="l2"),
        optim=Optim(lr=3e-3, schedule="cosine", warmup=50, b2=0.99, clip=None, ema_decay=0.99),
        train=Train(steps=1000, save_every=500, sample_every=0, log_every=100),
    ),
    latent_scale="channels",
    model=UNet(
        channels=48,
        channel_mults=(1, 2),
        num_res_blocks=1,
        attention_factors=(1, 2),
        num_heads=4,
        vector_dim=128,
        positions=True,
        norm_groups=16,
    ),
    conditions=(
        Text(dim=128, layers=2, num_heads=4, head_dim=32, length=16, vocab_size=256, pooled=True),
    ),
    diffusion=Diffusion(schedule="linear", beta_start=1e-4, beta_end=0.02, prediction="v"),
    sampling=Sampling(steps=25, spacing="trailing", guidance=1.5),
    optim=Optim(lr=1e-3, schedule="cosine", warmup=200, weight_decay=0.01, ema_decay=0.998),
    train=Train(steps=2500, save_every=500, sample_every=0, log_every=100),
)
