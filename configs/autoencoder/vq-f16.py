"""vq-f16 (Rombach et al. 2022): 16384 codes of 8 numbers, 16 times fewer a side; rFID 5.15.

python train.py configs/autoencoder/vq-f16.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from ldm_jax.config import *

config = FirstStageExperiment(
    model=VQAutoencoder(
        channel_mults=(1, 1, 2, 2, 4), z_channels=8, codebook_size=16384, attention_factors=(16,)
    ),
    loss=AutoencoderLoss(
        reconstruction="l1",
        reduction="mean",
        perceptual_weight=1.0,
        codebook=Codebook(weight=0.25, commitment=1.0),  # as the original's beta falls on the codes
        adversary=Adversary(weight=0.75, start=250_001, loss="hinge", layers=2),
    ),
    data=Data(image_size=256, batch_size=14, crop="random"),
    optim=Optim(lr=4.5e-6, b1=0.5, b2=0.9, clip=None, ema_decay=0.0),
    train=Train(steps=500_000),
)
