"""Training runs: what an experiment describes, in a folder; the first stage before the second.

run.py          any experiment: its task is made and done, in one order
task.py         what one training is; made by the next four
first_stage.py  of a first stage
diffusion.py    of a diffusion model
classifier.py   of a classifier of noised latents
clip.py         of CLIP's image and text encoder
loop.py         its steps; record.py: rows, checkpoints and images after them, by log.py, meter.py
preemption.py   SIGTERM
source.py       opened data and its batches
on_latents.py   latents and captions that were encoded once
fitted.py       what a config leaves open, filled in by the data
checked.py      what is refused before anything is computed
plan.py         what a step would cost, from its trace (cost.py)
"""

from ldm_jax.training.first_stage import init_first_stage
from ldm_jax.training.fitted import inherit
from ldm_jax.training.run import train
