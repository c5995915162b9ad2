"""The demonstration: captioned shapes, both stages in minutes on two cores."""

from ldm_jax.config import *

config = Experiment(
    data=Data(path="shapes", image_size=32, batch_size=32, shapes=Shapes(max_objects=1)),
    first_stage=FirstStageExperiment(
        model=KLAutoencoder(
            channels=16,
            channel_mults=(1, 2, 4),
            num_res_blocks=1,
            mid_attention=False,
            z_channels=8,
            norm_groups=4,
        ),
        loss=AutoencoderLoss(reconstruction="l2"),
        data=Data(batch_size=16),
        optim=Optim(lr=3e-3, schedule="cosine", warmup=50, b2=0.99, clip=None, ema_decay=0.99),
        train=Train(steps=1500, save_every=500, sample_every=500, log_every=100),
    ),
    model=UNet(
        channels=64,
        channel_mults=(1, 2),
        num_res_blocks=1,
        attention_factors=(1, 2),
        num_heads=4,
        positions=True,
        norm_groups=16,
    ),
    condition=Text(dim=128, layers=2, num_heads=4, head_dim=32, length=12, vocab_size=256),
    diffusion=Diffusion(schedule="cosine", prediction="v"),
    sampling=Sampling(steps=25, grid="trailing", guidance=2.0),
    optim=Optim(
        lr=2e-3, schedule="cosine", warmup=100, b2=0.99, weight_decay=0.01, ema_decay=0.995
    ),
    train=Train(steps=1200, save_every=400, sample_every=0, log_every=100),
)
