"""The prior of DALL-E 2 (Ramesh et al. 2022, section 2.2), of the size of Karlo v1.0-alpha: CLIP's
image embeddings of captions. --first-stage.model.file and --conditions.0.file are CLIP's
weights."""

from ldm_jax.config import *

config = Experiment(
    first_stage=FirstStageExperiment(model=ImageEmbedding(image_size=224)),
    latent_scale="channels",
    model=PriorTransformer(),
    conditions=(CLIPCaption(drop=0.2),),
    diffusion=Diffusion("cosine", prediction="x0"),
    sampling=Sampling("ddpm", 25, "linspace", guidance=4.0),
    data=Data(image_size=224),
    optim=Optim(lr=1.1e-4, b2=0.96, eps=1e-6, weight_decay=6e-2),
    train=Train(sample_every=0),
)
