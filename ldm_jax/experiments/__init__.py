"""What a config file holds: one training, whole.

Each kind says what it trains, as messages call it (`kind`), and which config trains one
(`example`).

first_stage.py  diffusion.py  classifier.py  clip.py  adapter.py   one kind of training each
cascade.py      runs in a row, which are sampled together
train.py        how long, over which devices
evaluation.py   what is measured on the way
"""

from ldm_jax.experiments.adapter import AdapterExperiment
from ldm_jax.experiments.cascade import Cascade, Stage
from ldm_jax.experiments.classifier import ClassifierExperiment
from ldm_jax.experiments.clip import CLIPExperiment
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment

AnyExperiment = (
    Experiment | FirstStageExperiment | ClassifierExperiment | CLIPExperiment | AdapterExperiment
)
