"""The training of CLIP."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ldm_jax.data.settings import Data
from ldm_jax.encoders.clip.model import CLIP, CLIPModel, TextArchitecture
from ldm_jax.encoders.clip.vision import Architecture
from ldm_jax.errors import InputError
from ldm_jax.experiments.shared import check_shared, check_squares
from ldm_jax.experiments.train import Train
from ldm_jax.settings import Seed
from ldm_jax.train_step.contrastive import ContrastiveLoss
from ldm_jax.train_step.optimizer import Optim


@dataclass(frozen=True)
class CLIPExperiment:
    """Trains encoders of images and captions to find the pairs of a batch (Radford et al. 2021)."""

    kind: ClassVar[str] = "a CLIP"
    example: ClassVar[str] = "configs/small-clip.py"

    model: CLIPModel = field(default_factory=CLIPModel)
    loss: ContrastiveLoss = field(default_factory=ContrastiveLoss)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    seed: Seed = 0  # of weights, batches and noise

    @property
    def text_encoders(self) -> dict[str, Any]:
        """Entry of a batch -> the settings of what reads the captions in it."""
        return {"tokens": self.model}

    def check(self, prefix: str = "") -> None:
        """Raises InputError where an encoder does not fit images of this size, or its heads."""
        check_shared(self)
        model, size = self.model, self.data.image_size
        check_squares(self.data, "data.", "CLIP")
        if size % model.patch:
            raise InputError(
                f"data.image_size is {size}: expected a multiple of model.patch {model.patch}, "
                f"such as {math.ceil(size / model.patch) * model.patch}"
            )
        for side in ("vision", "text"):
            channels, heads = (getattr(model, f"{side}_{name}") for name in ("channels", "heads"))
            if channels % heads:
                raise InputError(
                    f"model.{side}_heads is {heads}: expected a divisor of {channels}, "
                    f"model.{side}_channels"
                )

    def build(self, tokenizers: Any = None) -> CLIP:
        """Both encoders; images are of the size that the data have."""
        m = self.model
        vision = Architecture(
            m.vision_channels,
            m.vision_layers,
            m.vision_heads,
            m.dim,
            m.patch,
            self.data.image_size,
        )
        text = TextArchitecture(
            m.text_channels, m.text_layers, m.text_heads, m.length, m.vocab_size
        )
        return CLIP(vision, text, m.weights)
