"""A ControlNet that follows edges: train.py configs/adapters/controlnet.py --base RUN."""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=ControlNet(hint="canny"),
    drop=0.5,  # of captions, so that hints have to be read (Zhang et al. 2023, section 3.4)
    data=Data(batch_size=8),
    optim=Optim(lr=1e-5, weight_decay=0.01, ema_decay=0.99),
    train=Train(steps=4000, save_every=1000, sample_every=500, log_every=50),
)
