"""txt2img-1p4B: Text to image, 256 pixels; FID 12.63 on MS-COCO with guidance 1.5.

python train.py configs/ldm/txt2img-1p4B.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/kl-f8.py, trained or converted.
The published checkpoint calls this configuration txt2img-1p4B-eval.
"""

from ldm_jax.config import *

config = Experiment(
    data=Data(image_size=256, batch_size=680),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(remat="full"),
    conditions=(Text(vocab_size=30522, tokenizer="bert-base-uncased/vocab.txt"),),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    loss=DiffusionLoss(distance="l2"),
    sampling=Sampling(steps=50, guidance=5.0),
    optim=Optim(lr=1e-4, weight_decay=0.01, clip=None),
    train=Train(steps=390_000),
)
