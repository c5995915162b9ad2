"""The variational autoencoder of Kingma and Welling (2014): MNIST, or any folder of small images.

python train.py configs/vae.py --data.path FOLDER      or  --data.path tfds:mnist
python sample.py RUN                                    samples from its prior
python sample.py RUN --interpolate 8                    interpolates between such samples
"""

from ldm_jax.config import *

config = FirstStageExperiment(
    model=MLPAutoencoder(),
    loss=AutoencoderLoss(reconstruction="likelihood", kl_weight=1.0),  # the bound on log p(x)
    data=Data(path="tfds:mnist", image_size=28, batch_size=100),
    optim=Optim(lr=1e-3, schedule="cosine", warmup=100, clip=None, ema_decay=0.999),
    train=Train(steps=20_000, save_every=5_000, sample_every=5_000, log_every=500, num_samples=32),
)
