"""A subject from a few images as a LoRA (DreamBooth).

python train.py configs/adapters/dreambooth.py --base RUN --data.path FOLDER
    --data.captions "a photo of sks dog" --prior.prompt "a photo of dog"
Half of a batch is of the class, in images that the base draws first.
"""

from ldm_jax.config import *

config = AdapterExperiment(
    adapter=LoRA(rank=4),
    prior=Prior("a photo of dog", num=200),
    data=Data(batch_size=2, captions=("a photo of sks dog",)),
    optim=Optim(lr=1e-4, weight_decay=0.01, ema_decay=0.99),
    train=Train(steps=500, save_every=250, sample_every=250, log_every=50),
)
