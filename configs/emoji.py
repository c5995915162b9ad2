"""Text to emoji, 64 pixels: a folder with metadata.jsonl (file_name, text).

python train.py configs/emoji.py --data.path FOLDER
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(path="data/emoji", image_size=64, batch_size=16),
    first_stage=FirstStageExperiment(
        model=KLAutoencoder(
            channels=16, channel_mults=(1, 2, 4, 8), num_res_blocks=1, z_channels=8, norm_groups=4
        ),
        loss=AutoencoderLoss(reconstruction="l2"),
        optim=Optim(lr=3e-3, schedule="cosine", warmup=50, b2=0.99, clip=None, ema_decay=0.99),
        train=Train(steps=1000, save_every=200, sample_every=500),
    ),
    latent_scale="channels",
    model=UNet(
        channels=96,
        channel_mults=(1, 2),
        num_res_blocks=1,
        attention_factors=(2,),
        num_heads=4,
        vector_dim=128,
        norm_groups=16,
    ),
    conditions=(
        Text(dim=128, layers=2, num_heads=4, head_dim=32, length=24, vocab_size=2048, pooled=True),
    ),
    diffusion=Diffusion(schedule="linear", beta_start=1e-4, beta_end=0.02, prediction="v"),
    sampling=Sampling(steps=50, spacing="trailing", guidance=3.0),
    optim=Optim(lr=1e-3, schedule="cosine", warmup=200, weight_decay=0.01, ema_decay=0.999),
    train=Train(steps=24_000, save_every=500, sample_every=3000, log_every=100),
)
