"""vq-f4 (Rombach et al. 2022): 8192 codes of 3 numbers, 4 times fewer a side; rFID 0.58.

python train.py configs/autoencoder/vq-f4.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from ldm_jax.config import *

config = FirstStageExperiment(
    model=VQAutoencoder(channel_mults=(1, 2, 4), z_channels=3, codebook_size=8192),
    loss=AutoencoderLoss(
        reconstruction="l1",
        reduction="mean",
        perceptual_weight=1.0,
        codebook=Codebook(weight=0.25, commitment=1.0),  # as the original's beta falls on the codes
        adversary=Adversary(weight=0.75, start=0, loss="hinge", layers=3),
    ),
    data=Data(image_size=256, batch_size=8, crop="random"),
    optim=Optim(lr=4.5e-6, b1=0.5, b2=0.9, clip=None, ema_decay=0.0),
    train=Train(steps=500_000),
)
