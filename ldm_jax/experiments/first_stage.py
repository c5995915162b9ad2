"""The training of a first stage."""

from dataclasses import dataclass, field

from ldm_jax.autoencoders import FirstStageModel, KLAutoencoder
from ldm_jax.data.settings import Data
from ldm_jax.experiments.evaluation import FirstStageEvaluation
from ldm_jax.experiments.train import Train
from ldm_jax.settings import Seed
from ldm_jax.train_step.autoencoder import AutoencoderLoss
from ldm_jax.train_step.optimizer import Optim


@dataclass(frozen=True)
class FirstStageExperiment:
    """Trains an autoencoder."""

    model: FirstStageModel = field(default_factory=KLAutoencoder)
    loss: AutoencoderLoss = field(default_factory=AutoencoderLoss)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=lambda: Optim(lr=4.5e-6, b1=0.5, b2=0.9))
    train: Train = field(default_factory=Train)
    evaluation: FirstStageEvaluation = field(default_factory=FirstStageEvaluation)
    seed: Seed = 0
    run: str | None = None  # an already trained run to use instead of training one
