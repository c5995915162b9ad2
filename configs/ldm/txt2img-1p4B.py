"""txt2img-1p4B: Text to image, 256 pixels; FID 12.63 on MS-COCO with guidance 1.5.

python train.py configs/ldm/txt2img-1p4B.py --data.path FOLDER --first-stage.run RUN
RUN is of configs/autoencoder/kl-f8.py, trained or converted.
The published checkpoint calls this configuration txt2img-1p4B-eval.
"""

from base import *

config = replace(
    base,
    data=replace(base.data, batch_size=680),
    first_stage=FirstStageExperiment(model=KLAutoencoder()),
    latent_scale=0.18215,
    model=UNet(remat="full"),
    conditions=(Text(vocab_size=30522, tokenizer="bert-base-uncased/vocab.txt"),),
    diffusion=replace(base.diffusion, beta_start=0.00085, beta_end=0.012),
    sampling=Sampling(steps=50, guidance=5.0),
    train=Train(steps=390_000),
)
