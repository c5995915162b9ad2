"""A LoRA of a style, from 64 images, of the demonstration (docs/adapters/lora.md).

python benchmarks/twins.py draw twins
python train.py configs/adapters/lora-twins.py --base runs/demo --data.path twins
"""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=LoRA(
        rank=8,
        target_modules=("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "conv1"),
    ),
    data=Data(batch_size=8),
    optim=Optim(lr=1e-3, schedule="cosine", warmup=50, ema_decay=0.99),
    train=Train(steps=600, save_every=300, sample_every=0, log_every=50),
)
