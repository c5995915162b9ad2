"""The training of a first stage."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ldm_jax.autoencoders import FirstStageModel, KLAutoencoder
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.experiments.evaluation import FirstStageEvaluation
from ldm_jax.experiments.shared import check_shared, check_squares
from ldm_jax.experiments.train import Train
from ldm_jax.losses.lpips import NETWORKS
from ldm_jax.losses.patchgan import smallest
from ldm_jax.settings import Seed
from ldm_jax.train_step.autoencoder import AutoencoderLoss
from ldm_jax.train_step.codebook import Codebook
from ldm_jax.train_step.optimizer import Optim
from ldm_jax.types import FirstStage


@dataclass(frozen=True)
class FirstStageExperiment:
    """Trains an autoencoder."""

    kind: ClassVar[str] = "a first stage"
    example: ClassVar[str] = "configs/small-kl-f4.py"

    model: FirstStageModel = field(default_factory=KLAutoencoder)
    loss: AutoencoderLoss = field(default_factory=AutoencoderLoss)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=lambda: Optim(lr=4.5e-6, b1=0.5, b2=0.9))
    train: Train = field(default_factory=Train)
    evaluation: FirstStageEvaluation = field(default_factory=FirstStageEvaluation)
    seed: Seed = 0  # of weights, batches and noise
    run: str | None = None  # an already trained run to use instead of training one

    def check(self, prefix: str = "") -> None:
        """Raises InputError where the parts of the config cannot go together."""
        model, size = self.model, self.data.image_size
        check_shared(self, prefix)
        check_squares(self.data, f"{prefix}data.", "a first stage")
        model.check_images(size, prefix)
        model.check(f"{prefix}model.")
        self._check_loss(prefix)

    def build(self, tokenizers: Any = None) -> FirstStage:
        """The first stage."""
        return self.model.build()

    def _check_loss(self, prefix: str) -> None:
        """Raises InputError for a setting that this kind of first stage has no use for."""
        loss, size = self.loss, self.data.image_size
        model, kind = self.model, type(self.model).__name__
        if not model.has_codebook and loss.codebook != Codebook():
            raise InputError(
                f"{prefix}loss.codebook is {loss.codebook}: expected its default, since a {kind} "
                "has no codebook; use model=VQAutoencoder()"
            )
        if not model.has_posterior and loss.kl_weight != AutoencoderLoss().kl_weight:
            raise InputError(
                f"{prefix}loss.kl_weight is {loss.kl_weight}: expected its default, since a "
                f"{kind} has no posterior" + "; see loss.codebook" * (model.has_codebook)
            )
        if loss.perceptual_weight and size < NETWORKS[loss.perceptual].smallest:
            raise InputError(
                f"{prefix}data.image_size is {size}: expected at least "
                f"{NETWORKS[loss.perceptual].smallest}, which {prefix}loss.perceptual "
                f"{loss.perceptual} can see; or set {prefix}loss.perceptual_weight to 0"
            )
        if loss.adversary.weight and size < smallest(loss.adversary.layers):
            raise InputError(
                f"{prefix}data.image_size is {size}: expected at least "
                f"{smallest(loss.adversary.layers)}, one patch of a discriminator of "
                f"{loss.adversary.layers} layers; lower {prefix}loss.adversary.layers"
            )
        if not model.has_likelihood and loss.reconstruction == "likelihood":
            raise InputError(
                f"{prefix}loss.reconstruction is likelihood: expected l1 or l2, since a {kind} has "
                "no likelihood of its own; use model=MLPAutoencoder()"
            )
        if loss.reconstruction == "likelihood" and loss.learn_log_variance:
            raise InputError(
                f"{prefix}loss.learn_log_variance is True: expected False, since with "
                f"{prefix}loss.reconstruction likelihood nothing would keep it from falling"
            )
