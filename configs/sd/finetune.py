"""Stable Diffusion 1 on images with captions: the whole denoiser, with a frozen text encoder.

python train.py configs/sd/finetune.py --workdir RUN --init-from SD --data.path FOLDER
    --optim.train-only "/(self|cross)/" trains attention alone
SD is a run that scripts/convert.py made with configs/sd/v1.py or of a folder of diffusers. A choice
for few images, after no publication; min-SNR weights as Hang et al. 2023.
"""

from base import *

config = replace(
    base,
    data=Data(image_size=512, batch_size=4, crop="random"),
    model=UNet(remat="full"),
    conditions=(CLIPText(drop=0.1),),
    loss=DiffusionLoss(distance="l2", weight="min_snr", min_snr_gamma=5.0),
    optim=Optim(lr=1e-5, warmup=500, weight_decay=0.01, ema_decay=0.999),
    train=Train(steps=10_000, num_samples=4),
)
