"""The training of a classifier of noised latents."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax.numpy as jnp

from ldm_jax.backbones.classifier import Classifier, ClassifierModule
from ldm_jax.data.settings import Data
from ldm_jax.diffusion.settings import Diffusion
from ldm_jax.errors import InputError
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.experiments.shared import check_shared, check_squares
from ldm_jax.experiments.train import Train
from ldm_jax.settings import AtLeast1, Seed, check_divides
from ldm_jax.train_step.optimizer import Optim
from ldm_jax.types import Array, LatentClassifier


@dataclass(frozen=True)
class ClassifierExperiment:
    """Trains a classifier of noised latents, which guides diffusion models (`sample.py`).

    A field of the data left at its default is as in the diffusion model's run.
    """

    kind: ClassVar[str] = "a classifier"
    example: ClassVar[str] = "configs/small-classifier.py"

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

    def check(self, prefix: str = "") -> None:
        """Raises InputError where the classifier cannot see latents of this size."""
        check_shared(self)
        model, size = self.model, self.data.image_size
        factor = self.first_stage.model.factor
        check_squares(self.data, "data.", "a classifier")
        side, least = size // factor, 2 ** (len(model.channel_mults) - 1)
        if side % least:
            raise InputError(
                f"model.channel_mults has {len(model.channel_mults)} levels, for latents of a "
                f"multiple of {least} a side: expected fewer, since those of the diffusion model "
                f"have {side}"
            )
        for name in ("head_channels", "norm_groups"):
            check_divides(model, name, "model.")

    def build(self, tokenizers: Any = None) -> LatentClassifier:
        """The classifier; nothing of the experiment is None."""
        first_stage = self.first_stage.model.build()
        classifier = ClassifierModule(self.model, self.num_classes)
        side = self.data.image_size // first_stage.factor

        def network(params, z, steps):
            return classifier.apply({"params": params}, z, steps)

        def init(key: Array):
            z = jnp.zeros((1, side, side, first_stage.channels))
            return {"classifier": classifier.init(key, z, jnp.zeros(1, jnp.int32))["params"]}

        return LatentClassifier(init, network, first_stage, self.diffusion.build_process())
