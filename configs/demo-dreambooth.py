"""A subject from a few images, taught to the demonstration's whole model (DreamBooth).

python train.py configs/demo-dreambooth.py --workdir RUN --init-from runs/demo --data.path FOLDER
Prior preservation with images of the class that the demonstration draws; --prior.prompt ""
leaves it out. See docs/adapters/dreambooth.md.
"""

from demo import *

config = replace(
    config,
    prior=Prior("a star", num=100),
    data=Data(image_size=48, batch_size=8),
    optim=Optim(lr=1e-4, warmup=20, ema_decay=0.98),
    train=Train(steps=300, save_every=300, sample_every=0, log_every=50),
)
