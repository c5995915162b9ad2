"""The demonstration: captioned shapes, both stages in minutes on two cores."""

from ldm_jax.config import *

config = Experiment(
    data=Data(path="shapes", image_size=32, batch_size=64, shapes=Shapes(max_objects=3)),
    first_stage=FirstStageExperiment(
        model=KLAutoencoder(channels=32, channel_mults=(1, 2, 2), num_res_blocks=1, z_channels=4),
        data=Data(batch_size=32),
        optim=Optim(lr=1e-3, schedule="cosine", warmup=50, ema_decay=0.999),
        train=Train(steps=600, save_every=300, sample_every=300, log_every=50),
    ),
    model=UNet(
        channels=96,
        channel_mults=(1, 2),
        num_res_blocks=2,
        attention_factors=(1, 2),
        num_heads=4,
    ),
    condition=Text(dim=128, layers=2, num_heads=4, head_dim=32, length=40, vocab_size=256),
    diffusion=Diffusion(schedule="cosine", prediction="v"),
    sampling=Sampling(steps=25, grid="trailing", guidance=2.0),
    optim=Optim(lr=1e-3, schedule="cosine", warmup=100, weight_decay=0.01, ema_decay=0.999),
    train=Train(steps=2000, save_every=500, sample_every=1000, log_every=50),
)
