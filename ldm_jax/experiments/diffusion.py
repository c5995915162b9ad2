"""The training of a diffusion model."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tokenizers import Tokenizer

from ldm_jax.backbones.settings import BackboneSettings
from ldm_jax.backbones.unet import UNet
from ldm_jax.conditioning import Condition, compose
from ldm_jax.conditioning.condition import BuildContext, ModelFacts
from ldm_jax.data import buckets
from ldm_jax.data.settings import Data
from ldm_jax.diffusion import sampling, spacing
from ldm_jax.diffusion.losses.settings import DiffusionLoss
from ldm_jax.diffusion.model import diffusion_model
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.diffusion.settings import Diffusion
from ldm_jax.errors import InputError
from ldm_jax.experiments.evaluation import Evaluation
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.experiments.shared import check_prior, check_shared, check_squares
from ldm_jax.experiments.train import Train
from ldm_jax.settings import Seed
from ldm_jax.train_step.optimizer import Optim
from ldm_jax.train_step.prior_preservation import Prior
from ldm_jax.types import DiffusionModel
from ldm_jax.weights.names import model as model_names
from ldm_jax.weights.names.condition import ConditionNames, joined


@dataclass(frozen=True)
class Experiment:
    """Trains a latent diffusion model, and its first stage before it where that has no run yet."""

    kind: ClassVar[str] = "a diffusion model"
    example: ClassVar[str] = "configs/demo.py"

    first_stage: FirstStageExperiment = field(default_factory=FirstStageExperiment)
    # of latents: one factor or shift and scale a channel, measured; or a factor that is known
    latent_scale: Literal["one", "channels"] | float = "one"
    model: BackboneSettings = field(default_factory=UNet)
    conditions: tuple[Condition, ...] = ()  # none: unconditional
    diffusion: Diffusion = field(default_factory=Diffusion)
    loss: DiffusionLoss = field(default_factory=DiffusionLoss)
    # DreamBooth's: images of a subject's class beside the data, which are of the subject
    prior: Prior = field(default_factory=Prior)
    sampling: Sampling = field(default_factory=Sampling)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    evaluation: Evaluation = field(default_factory=Evaluation)
    seed: Seed = 0  # of weights, batches and noise

    def build(self, tokenizers: Mapping[str, Tokenizer] | None = None) -> DiffusionModel:
        """The whole model.

        Args:
            tokenizers: entry of a batch -> what makes it of a caption.
        """
        first_stage = self.first_stage.model.build()
        context = BuildContext(tokenizers or {}, first_stage, self.model.vector_dim)
        return diffusion_model(
            self.model.build(first_stage.channels, self.outputs * first_stage.channels),
            compose.build(self.conditions, context),
            first_stage,
            self.diffusion.build_process(),
            self.diffusion.build_prediction(),
        )

    @property
    def text_encoders(self) -> dict[str, Any]:
        """Entry of a batch -> the settings of the text encoder that reads the captions in it."""
        return {entry: one for each in self.conditions for entry, one in each.text_encoders.items()}

    @property
    def drop(self) -> float:
        """How often training drops the conditions that guidance drops."""
        return max((one.drop for one in compose.dropped(self.conditions)), default=0.0)

    @property
    def apart(self) -> dict[tuple[str, ...], float]:
        """Entries of a batch -> how often training drops them alone."""
        return {names: share for one in self.conditions for names, share in one.apart.items()}

    @property
    def outputs(self) -> int:
        """Numbers that the network predicts for each of a latent."""
        return 2 if self.diffusion.learned_variance else 1

    def condition_names(self) -> ConditionNames:
        """What the original calls the weights of the conditioner."""
        channels = self.first_stage.model.build().channels
        return joined([one.names(channels) for one in self.conditions])

    def original_names(self) -> model_names.Names:
        """What the original calls the weights of the whole model."""
        channels = self.first_stage.model.build().channels
        first_stage = self.first_stage.model.original_names()
        outputs = self.outputs * channels
        return model_names.names(self.model, channels, outputs, first_stage, self.condition_names())

    def check(self, prefix: str = "") -> None:
        """Raises InputError where the parts of the config cannot go together."""
        check_shared(self)
        self._check_size()
        self.first_stage.check("first_stage.")
        self._check_buckets()
        self.model.check("model.")
        self._check_heads()
        scale = self.latent_scale
        if not isinstance(scale, str) and not 0 < scale < math.inf:
            raise InputError(f"latent_scale is {scale}: expected one, channels or a factor above 0")
        facts = ModelFacts(self.model, self.first_stage.model.factor, self.sampling.guidance)
        compose.check(self.conditions, facts)
        self.diffusion.check("diffusion.")
        self.loss.check("loss.")
        check_prior(self)
        self._check_loss()
        self._check_sampling()

    def _check_size(self) -> None:
        """Raises InputError unless first stage and network halve images without a rest."""
        size, factor = self.data.image_size, self._multiple
        if size % factor:
            raise InputError(
                f"data.image_size is {size}: expected a multiple of {factor}, the factor by which "
                f"first stage and UNet downsample, such as {math.ceil(size / factor) * factor}"
            )

    @property
    def _multiple(self) -> int:
        """Sides of images are multiples of it."""
        return self.first_stage.model.factor * self.model.multiple

    def _check_buckets(self) -> None:
        """Raises InputError for buckets that cannot be."""
        data = self.data
        if not data.buckets:
            return
        buckets.check(data.image_size, data.buckets, data.bucket_aspect, self._multiple)
        for condition in self.conditions:
            if condition.square_only:
                name = type(condition).__name__
                check_squares(data, "data.", f"a model with the condition {name}")

    def _check_heads(self) -> None:
        """Raises InputError where heads cannot be shared out along the mesh's tensor axis."""
        tensor, heads = self.train.mesh.tensor, self.model.heads("model.")
        for i, condition in enumerate(self.conditions):
            heads += condition.heads(f"conditions.{i}.")
        for name, count in heads:
            if count % tensor:
                raise InputError(
                    f"train.mesh.tensor is {tensor} and {name} makes {count} heads: expected a "
                    "divisor of them, since a device has whole heads"
                )

    def _check_loss(self) -> None:
        """Raises InputError where the loss does not train what the network predicts."""
        loss, diffusion = self.loss, self.diffusion
        if diffusion.learned_variance and loss.kind == "simple":
            raise InputError(
                "loss.kind is simple: expected hybrid or vlb with diffusion.learned_variance, "
                "since the simple loss does not see the variance"
            )
        if loss.kind == "hybrid" and not diffusion.learned_variance:
            raise InputError(
                "loss.kind is hybrid: expected simple or vlb without diffusion.learned_variance, "
                "since the bound in it trains the variance alone"
            )
        if loss.kind != "simple" and diffusion.steps < 2:
            raise InputError(
                f"diffusion.steps is {diffusion.steps}: expected at least 2 with a loss.kind of "
                f"{loss.kind}, whose first step has the variance of the second"
            )

    def _check_sampling(self) -> None:
        """Raises InputError where images cannot be drawn as `sampling` says."""
        # an eta of 0 was the default of every sampler once
        asked = dataclasses.replace(self.sampling, eta=self.sampling.eta or None)
        sampling.check_options(asked, lambda name: f"sampling.{name}")
        if asked.times:
            spacing.by_hand(asked.times, self.diffusion.steps)
        if not 1 <= asked.steps <= self.diffusion.steps:
            raise InputError(
                f"sampling.steps is {asked.steps}: expected 1 to diffusion.steps, which is "
                f"{self.diffusion.steps}"
            )
