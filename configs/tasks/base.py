"""What the tasks on shapes share: everything but the condition."""

from ldm_jax.config import *

base = Experiment(
    data=Data(path="shapes", image_size=32, batch_size=8),
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
        data=Data(batch_size=16, shapes=Shapes(max_objects=9, num_train=10_000)),
        optim=Optim(lr=3e-3, schedule="cosine", warmup=50, b2=0.99, clip=None, ema_decay=0.99),
        train=Train(steps=900, save_every=450, sample_every=450, log_every=100),
    ),
    latent_scale="channels",
    model=UNet(
        channels=64,
        channel_mults=(1, 2),
        num_res_blocks=1,
        attention_factors=(1, 2),
        num_heads=4,
        positions=True,
        norm_groups=16,
    ),
    diffusion=Diffusion(schedule="linear", beta_start=1e-4, beta_end=0.02, prediction="v"),
    sampling=Sampling(steps=25, spacing="trailing"),
    optim=Optim(lr=1e-3, schedule="cosine", warmup=100, weight_decay=0.01, ema_decay=0.995),
    train=Train(steps=2400, save_every=1200, sample_every=0, log_every=100),
)
concatenated = replace(  # of a condition that is joined to the latents
    base,
    model=replace(base.model, channels=48, attention_factors=(2,)),
    data=replace(base.data, batch_size=16),
    train=replace(base.train, steps=2000, save_every=500),
)
