"""CLIP ViT-B/32 as published: model, loss and optimizer of Radford et al. 2021, tables 18 to 20.

python train.py configs/clip/vit-b-32.py --data.path FOLDER
Theirs was 32 epochs of 400 million pairs, which are not public; steps are those of such a set. The
averages are of this repository: their weights are the last.
"""

from ldm_jax.config import *

BATCH = 32_768

config = CLIPExperiment(
    model=CLIPModel(),
    loss=ContrastiveLoss(temperature=0.07, max_scale=100.0),
    data=Data(image_size=224, batch_size=BATCH, crop="random"),
    optim=Optim(
        lr=5e-4,
        schedule="cosine",
        warmup=2000,
        b1=0.9,
        b2=0.98,
        eps=1e-6,
        weight_decay=0.2,
        decays="matrices",
        clip=None,
    ),
    train=Train(steps=32 * 400_000_000 // BATCH, sample_every=0),
)
