"""A star for the demonstration as a LoRA, of its denoiser and its text encoder.

python -m benchmarks.new_words images sks sks
python train.py configs/adapters/dreambooth-star.py --base runs/demo --data.path sks
See docs/adapters/dreambooth.md, where configs/demo-dreambooth.py trains the whole model.
"""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=LoRA(rank=8, match="kernel$"),
    prior=Prior("a star", num=100),
    data=Data(batch_size=8),
    optim=Optim(lr=1e-3, warmup=20, ema_decay=0.98),
    train=Train(steps=300, save_every=300, sample_every=0, log_every=50),
)
