"""An IP-Adapter: train.py configs/adapters/ip-adapter.py --base RUN --adapter.encoder.file FILE."""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=IPAdapter(),
    drop=0.05,  # shares of Ye et al. 2023, section 4.1
    drop_own=0.05,
    drop_base=0.05,
    data=Data(batch_size=8),
    optim=Optim(lr=1e-4, weight_decay=0.01, ema_decay=0.99),
    train=Train(steps=20000, save_every=5000, sample_every=5000, log_every=100),
)
