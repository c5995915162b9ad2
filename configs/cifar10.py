"""Class-conditional CIFAR-10, 32 pixels: a folder with one folder a class.

python train.py configs/cifar10.py --data.path FOLDER
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(path="data/cifar10", image_size=32, batch_size=32, flip=True),
    first_stage=FirstStageExperiment(
        model=KLAutoencoder(
            channels=16, channel_mults=(1, 2, 4), num_res_blocks=1, z_channels=8, norm_groups=4
        ),
        loss=AutoencoderLoss(reconstruction="l2"),
        data=Data(batch_size=16),
        optim=Optim(lr=3e-3, schedule="cosine", warmup=50, b2=0.99, clip=None, ema_decay=0.99),
        train=Train(steps=2000, save_every=500, sample_every=1000),
    ),
    latent_scale="channels",
    model=UNet(
        channels=64,
        channel_mults=(1, 2),
        num_res_blocks=2,
        attention_factors=(2,),
        num_heads=4,
        norm_groups=16,
    ),
    conditions=(Label(dim=256),),
    diffusion=Diffusion(schedule="cosine", prediction="v"),
    sampling=Sampling(steps=50, spacing="trailing", guidance=2.0),
    optim=Optim(lr=1e-3, schedule="cosine", warmup=200, weight_decay=0.01, ema_decay=0.999),
    train=Train(steps=5000, save_every=250, sample_every=1000, log_every=100),
)
