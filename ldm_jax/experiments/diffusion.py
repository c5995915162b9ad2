"""The training of a diffusion model."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ldm_jax.backbones.unet import UNet
from ldm_jax.conditioning import Beside, Condition, Unconditional
from ldm_jax.data.settings import Data
from ldm_jax.diffusion.losses.settings import DiffusionLoss
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.diffusion.settings import Diffusion
from ldm_jax.experiments.evaluation import Evaluation
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.experiments.train import Train
from ldm_jax.settings import Seed
from ldm_jax.train_step.optimizer import Optim


@dataclass(frozen=True)
class Experiment:
    """Trains a latent diffusion model, and its first stage before it where that has no run yet."""

    kind: ClassVar[str] = "a diffusion model"
    example: ClassVar[str] = "configs/demo.py"

    first_stage: FirstStageExperiment = field(default_factory=FirstStageExperiment)
    # of latents: one factor or shift and scale a channel, measured; or a factor that is known
    latent_scale: Literal["one", "channels"] | float = "one"
    model: UNet = field(default_factory=UNet)
    condition: Condition = field(default_factory=Unconditional)
    beside: Beside | None = None  # a second condition, with captions as the first
    diffusion: Diffusion = field(default_factory=Diffusion)
    loss: DiffusionLoss = field(default_factory=DiffusionLoss)
    sampling: Sampling = field(default_factory=Sampling)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    evaluation: Evaluation = field(default_factory=Evaluation)
    seed: Seed = 0
