"""Low-rank adaptation of a model's attention: train.py configs/adapters/lora.py --base RUN."""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=LoRA(rank=4),
    data=Data(batch_size=8),
    optim=Optim(lr=1e-4, weight_decay=0.01, ema_decay=0.99),
    train=Train(steps=500, save_every=250, sample_every=250, log_every=50),
)
