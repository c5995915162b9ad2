"""The training of an adapter."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import tyro

from ldm_jax.adapters.lora import LoRA
from ldm_jax.adapters.settings import AdapterSettings
from ldm_jax.data.settings import Data
from ldm_jax.diffusion.losses.settings import DiffusionLoss
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.errors import InputError
from ldm_jax.experiments.evaluation import Evaluation
from ldm_jax.experiments.shared import check_prior, check_shared
from ldm_jax.experiments.train import Train
from ldm_jax.settings import Fraction, Seed
from ldm_jax.train_step.optimizer import Optim
from ldm_jax.train_step.prior_preservation import Prior


@dataclass(frozen=True)
class AdapterExperiment:
    """Trains an adapter of a diffusion model, which stays as it is.

    The run holds the adapter alone. Fields of the data at their defaults, and `sampling` where it
    is None, are the base's.
    """

    kind: ClassVar[str] = "an adapter"
    example: ClassVar[str] = "configs/adapters/lora.py"

    base: str | None = None  # the run of the diffusion model
    base_digest: Annotated[str | None, tyro.conf.Fixed] = None  # of its weights, filled in
    adapter: AdapterSettings = field(default_factory=LoRA)
    drop: Fraction = 0.0  # how often training drops the conditions that guidance drops
    # of the other examples, how often it drops alone what the adapter reads, or what the base does
    drop_own: Fraction = 0.0
    drop_base: Fraction = 0.0
    # DreamBooth's: images of a subject's class beside the data, which are of the subject
    prior: Prior = field(default_factory=Prior)
    loss: DiffusionLoss = field(default_factory=DiffusionLoss)
    sampling: Sampling | None = None
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=lambda: Optim(lr=1e-4, ema_decay=0.99))
    train: Train = field(default_factory=Train)
    evaluation: Evaluation = field(default_factory=Evaluation)
    seed: Seed = 0  # of weights, batches and noise

    def check(self, prefix: str = "") -> None:
        """Raises InputError where the parts of the config cannot go together."""
        check_shared(self, prefix)
        self.loss.check("loss.")
        if self.drop_own + self.drop_base > 1:
            raise InputError(
                f"{prefix}drop_own is {self.drop_own} and {prefix}drop_base {self.drop_base}: "
                "expected shares of which the sum is at most 1"
            )
        check_prior(self)
