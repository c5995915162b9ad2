"""kl-f16 (Rombach et al. 2022): 16 channels, 16 times fewer a side; rFID 0.87.

python train.py configs/autoencoder/kl-f16.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from ldm_jax.config import *

config = FirstStageExperiment(
    model=KLAutoencoder(channel_mults=(1, 1, 2, 2, 4), z_channels=16, attention_factors=(16,)),
    loss=AutoencoderLoss(
        reconstruction="l1",
        reduction="sum",
        perceptual_weight=1.0,
        kl_weight=1e-6,
        adversary=Adversary(weight=0.5, start=50_001, loss="hinge", layers=3),
    ),
    data=Data(image_size=256, batch_size=6, crop="random"),
    optim=Optim(lr=4.5e-6, b1=0.5, b2=0.9, clip=None, ema_decay=0.0),
    train=Train(steps=500_000),
)
