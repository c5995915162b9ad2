"""The training of CLIP."""

from dataclasses import dataclass, field

from ldm_jax.data.settings import Data
from ldm_jax.encoders.clip.model import CLIPModel
from ldm_jax.experiments.train import Train
from ldm_jax.settings import Seed
from ldm_jax.train_step.contrastive import ContrastiveLoss
from ldm_jax.train_step.optimizer import Optim


@dataclass(frozen=True)
class CLIPExperiment:
    """Trains towers of images and captions to find the pairs of a batch (Radford et al. 2021)."""

    model: CLIPModel = field(default_factory=CLIPModel)
    loss: ContrastiveLoss = field(default_factory=ContrastiveLoss)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    seed: Seed = 0
