"""A CLIP that trains on two cores in minutes, on drawn scenes with captions.

python train.py configs/small-clip.py
python scripts/evaluate.py zero-shot runs/small-clip shapes --split test
"""

from ldm_jax.config import *

config = CLIPExperiment(
    model=CLIPModel(
        dim=64,
        patch=8,
        vision_channels=96,
        vision_layers=3,
        vision_heads=4,
        text_channels=64,
        text_layers=2,
        text_heads=4,
        length=32,
        vocab_size=600,
    ),
    data=Data(path="shapes", image_size=32, batch_size=64, shapes=Shapes(1, 1)),
    optim=Optim(
        lr=1e-3,
        schedule="cosine",
        warmup=100,
        b2=0.98,
        eps=1e-6,
        weight_decay=0.1,
        decays="matrices",
        ema_decay=0.99,
    ),
    train=Train(steps=2000, save_every=500, sample_every=0, log_every=100),
)
