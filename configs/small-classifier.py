"""A classifier of noised latents that guides a diffusion model: a folder with one folder a class.

python train.py configs/small-classifier.py --diffusion-run runs/cifar10
python sample.py runs/cifar10 --classifier runs/small-classifier --label horse
"""

from ldm_jax.config import *

config = ClassifierExperiment(
    diffusion_run="runs/cifar10",
    model=Classifier(
        channels=32,
        channel_mults=(1, 2),
        num_res_blocks=1,
        attention_factors=(2,),
        head_channels=16,
        scale_shift=False,
        resample_blocks=False,
        norm_groups=8,
    ),
    optim=Optim(lr=1e-3, schedule="cosine", warmup=100, weight_decay=0.05, ema_decay=0.999),
    train=Train(steps=3000, save_every=500, sample_every=0, log_every=100),
)
