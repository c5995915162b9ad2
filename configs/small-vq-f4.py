"""The VQ autoencoder at a fifth of the original vq-f4's width, on a folder of photographs.

python train.py configs/small-vq-f4.py --data.path FOLDER
"""

from ldm_jax.config import *

config = FirstStageExperiment(
    model=VQAutoencoder(
        channels=24,
        channel_mults=(1, 2, 4),
        num_res_blocks=1,
        z_channels=3,
        norm_groups=8,
        codebook_size=1024,
    ),
    loss=AutoencoderLoss(
        reduction="mean",
        perceptual_weight=1.0,
        perceptual="alex_shift_tolerant",
        codebook=Codebook(update="ema", revive_below=0.03),
        adversary=Adversary(weight=0.75, start=800, channels=24, layers=2),
    ),
    data=Data(path="data/photos", image_size=64, batch_size=4, crop="random", flip=True),
    optim=Optim(lr=5e-4, schedule="cosine", warmup=50, b1=0.5, b2=0.9, ema_decay=0.99),
    train=Train(steps=2000, save_every=250, sample_every=500),
)
