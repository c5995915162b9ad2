"""An InstantID: train.py configs/adapters/instant-id.py --base RUN --data.path FOLDER.

The folder's metadata.jsonl has for each image the embedding of its face and the face's five points.
"""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=InstantID(),
    drop=0.05,  # of captions and faces together
    drop_own=0.05,  # of faces alone
    drop_base=0.1,  # of captions alone
    data=Data(batch_size=8),
    optim=Optim(lr=1e-4, weight_decay=0.01, ema_decay=0.99),
    train=Train(steps=20000, save_every=5000, sample_every=5000, log_every=100),
)
