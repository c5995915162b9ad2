"""rdm-768x768: Retrieval-augmented text to image, 768 pixels, 1.3 billion parameters.

python train.py configs/ldm/rdm-768x768.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/kl-f16.py, trained or converted.
"""

from base import *

config = replace(
    base,
    data=Data(image_size=768, batch_size=1280),
    first_stage=FirstStageExperiment(
        model=KLAutoencoder(channel_mults=(1, 1, 2, 2, 4), z_channels=16, attention_factors=(16,)),
    ),
    latent_scale=0.22765929,
    model=UNet(
        channels=448,
        channel_mults=(1, 2, 3, 4),
        attention_factors=(4, 2, 1),
        head_channels=32,
        remat="full",
    ),
    conditions=(Retrieval(),),
    diffusion=replace(base.diffusion, beta_end=0.015),
    sampling=Sampling(steps=50, guidance=3.0),
    train=Train(steps=500_000),
)
