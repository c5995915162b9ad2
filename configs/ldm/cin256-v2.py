"""cin256-v2: Classes of ImageNet, 256 pixels; FID 3.60 with guidance 1.5.

python train.py configs/ldm/cin256-v2.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4.py, trained or converted.
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=256, batch_size=1200, crop="random", flip=True),
    first_stage=FirstStageExperiment(model=VQAutoencoder()),
    latent_scale=1.0,
    model=UNet(channels=192, channel_mults=(1, 2, 3, 5), attention_factors=(8, 4, 2), num_heads=1),
    conditions=(Label(num_classes=1000),),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=250, guidance=1.5, eta=1.0),
    optim=Optim(lr=1e-4, weight_decay=0.01, clip=None),
    train=Train(steps=178_000),
)
