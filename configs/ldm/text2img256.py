"""text2img256: Text to image, 256 pixels; FID 16.79 on Conceptual Captions, 100 steps of DDIM.

python train.py configs/ldm/text2img256.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/vq-f4.py, trained or converted.
The original's trainer multiplies 2e-6 by the global batch size: lr is that of one device.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=28),
    model=UNet(
        channels=192, channel_mults=(1, 2, 3, 5), attention_factors=(8, 4, 2), head_channels=32
    ),
    conditions=(Text(dim=640, vocab_size=30522, tokenizer="bert-base-uncased/vocab.txt"),),
    sampling=Sampling(steps=100),
    optim=replace(base.optim, lr=5.6e-5),
    train=Train(steps=500_000),
)
