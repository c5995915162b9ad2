"""A new word from a few images: train.py configs/adapters/textual-inversion.py --base RUN."""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=TextualInversion(token="<new>", vectors=1),
    data=Data(batch_size=4),
    optim=Optim(lr=5e-3, ema_decay=0.99),
    train=Train(steps=1000, save_every=500, sample_every=0, log_every=100),
)
