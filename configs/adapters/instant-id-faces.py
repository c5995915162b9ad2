"""An InstantID of drawn faces (docs/adapters/instant-id.md).

python train.py configs/adapters/instant-id-faces.py --base runs/faces
"""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=InstantID(
        face_dim=32,
        tokens=4,
        width=128,
        depth=1,
        heads=2,
        stem=(16, 32, 64),
        radius=1.2,
        half_width=0.6,
    ),
    drop=0.05,
    drop_own=0.1,
    drop_base=0.05,
    loss=DiffusionLoss(times="cubic"),
    data=Data(batch_size=8),
    optim=Optim(lr=1.5e-3, schedule="cosine", warmup=100, ema_decay=0.99),
    train=Train(steps=4400, save_every=400, sample_every=0, log_every=100),
)
