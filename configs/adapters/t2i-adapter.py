"""A T2I-Adapter that follows edges: train.py configs/adapters/t2i-adapter.py --base RUN."""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=T2IAdapter(hint="canny", hint_channels=1),
    drop=0.1,  # of captions
    data=Data(batch_size=8),
    optim=Optim(lr=1e-5, weight_decay=0.01, ema_decay=0.99),
    train=Train(steps=15000, save_every=5000, sample_every=5000, log_every=100),
)
