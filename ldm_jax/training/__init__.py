"""Training runs: what an experiment describes, in a folder; the first stage before the second.

experiment.py   any experiment, by the next three
first_stage.py  a first stage
diffusion.py    a diffusion model
classifier.py   a classifier of noised latents
clip.py         towers of images and captions
source.py       opened data and its batches
on_latents.py   latents and captions that were encoded once
fitted.py       what a config leaves open, filled in by the data
checked.py      what is refused before anything is computed
steps.py        the step of an experiment: made, planned, announced
"""

from ldm_jax.training.experiment import train
from ldm_jax.training.first_stage import init_first_stage
from ldm_jax.training.fitted import inherit

__all__ = ["inherit", "init_first_stage", "train"]
