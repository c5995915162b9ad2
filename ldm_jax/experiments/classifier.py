"""The training of a classifier of noised latents."""

from dataclasses import dataclass, field

from ldm_jax.backbones.classifier import Classifier
from ldm_jax.data.settings import Data
from ldm_jax.diffusion.settings import Diffusion
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.experiments.train import Train
from ldm_jax.settings import AtLeast1, Seed
from ldm_jax.train_step.optimizer import Optim


@dataclass(frozen=True)
class ClassifierExperiment:
    """Trains a classifier of noised latents, which guides diffusion models (`sample.py`).

    A field of the data left at its default is as in the diffusion model's run.
    """

    diffusion_run: str | None = None  # a diffusion model whose latents and noise it is to see
    model: Classifier = field(default_factory=Classifier)
    num_classes: AtLeast1 | None = None  # None: as many as the data has
    first_stage: FirstStageExperiment | None = None  # that run's, as the next
    diffusion: Diffusion | None = None
    data: Data = field(default_factory=Data)
    # their learning rate and weight decay
    optim: Optim = field(default_factory=lambda: Optim(lr=3e-4, weight_decay=0.05))
    train: Train = field(default_factory=Train)
    seed: Seed = 0
