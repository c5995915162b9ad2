"""Training runs: what an experiment describes, in a folder; the first stage before the second.

experiment.py   any experiment: its task is made, and run
task.py         what one training is; made by the next four
first_stage.py  of a first stage
diffusion.py    of a diffusion model
classifier.py   of a classifier of noised latents
clip.py         of image and text encoders
run.py          the one order in which a task is done
loop.py         its steps: log.py, meter.py, preemption.py, cost.py
source.py       opened data and its batches
on_latents.py   latents and captions that were encoded once
fitted.py       what a config leaves open, filled in by the data
checked.py      what is refused before anything is computed
steps.py        the step of an experiment: made, planned (plan.py), announced
"""

from ldm_jax.training.experiment import train
from ldm_jax.training.first_stage import init_first_stage
from ldm_jax.training.fitted import inherit

__all__ = ["inherit", "init_first_stage", "train"]
