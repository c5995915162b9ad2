"""StyleAdapter: tokens of an image, attended to behind those of the text (Mou et al. 2023, T2I-
Adapter's for style).

A small transformer reads what leaves the last block of CLIP's image encoder and a few tokens of its
own, which become those that are appended. The image is encoded outside of the model, once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.adapters.family import check_family, token_width
from ldm_jax.adapters.image_encoder import ImageEncoder
from ldm_jax.adapters.ip_adapter import ImagePrompts
from ldm_jax.adapters.settings import AdapterSettings, Arrays, Base
from ldm_jax.conditioning.clip_image import prepared
from ldm_jax.data.given import load_rows, open_image
from ldm_jax.encoders.style import Style
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Adapter, Array, Batch, Derive, Params
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import style_adapter as names

VIT_L14 = ImageEncoder("openai", 1024, 24, 16, 768)


@dataclass(frozen=True)
class StyleAdapter(AdapterSettings):
    """Tokens of an image behind the text's; defaults are those of the published."""

    tokens: AtLeast1 = 8  # of an image
    depth: AtLeast1 = 3  # blocks, as wide as the image encoder
    heads: AtLeast1 = 8  # attention heads
    encoder: ImageEncoder = field(default=VIT_L14)
    entry: str = "style"  # of a batch

    kind: ClassVar = "a StyleAdapter"
    sections: ClassVar = (ImagePrompts,)

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        if token_width(base) is None:
            raise InputError(
                f"{prefix[:-1]} is {self.kind}, which appends tokens to the text's: expected a base"
                " that attends to tokens, such as captions"
            )
        self.encoder.check(f"{prefix}encoder.")
        if self.encoder.channels % self.heads:
            raise InputError(
                f"{prefix}heads is {self.heads}: expected a divisor of {prefix}encoder.channels, "
                f"{self.encoder.channels}"
            )

    def found(self) -> Self:
        return replace(self, encoder=self.encoder.found())

    def named(self, name: str) -> Self:
        return replace(self, entry=f"{self.entry}.{name}")

    def build(self, base: Base) -> Adapter:
        return style_adapter(self, token_width(base))

    def derive(self, factor: int) -> dict[str, Derive]:
        """The image itself says its style."""

        def make(example: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
            return self.encoded([Image.fromarray(np.asarray(example["image"]))])[0]

        return {self.entry: make}

    def given(self, options: Mapping[str, Any], size: tuple[int, int], data: Any) -> Batch:
        each = [self.read_prompt(file, data) for file in options["image_prompt"]]
        return {self.entry: np.concatenate(each)}

    def read_prompt(self, file: str, data: Any) -> np.ndarray:
        """The encoder's output for an image, or those that a .npy holds, [n, places, channels]."""
        if not file.endswith(".npy"):
            return self.encoded([open_image(file, "--image-prompt", data)])
        expected = self.encoder.places, self.encoder.channels
        return load_rows(file, "--image-prompt", expected, "outputs of the image encoder")

    def encoded(self, images: Sequence[Image.Image]) -> np.ndarray:
        x = np.stack([prepared(image, self.encoder.size) for image in images])
        return self.encoder.embedded(x, "last")

    @classmethod
    def of_file(
        cls, arrays: Arrays, metadata: Mapping[str, str], base: Base
    ) -> tuple[Self, Params] | None:
        found = names.recognised(tables.shapes_of(arrays))
        if found is None:
            return None
        check_family(cls.kind, found.into, base)
        encoder = VIT_L14 if found.width == VIT_L14.channels else ImageEncoder(channels=found.width)
        said = encoder.beside(metadata)
        encoder = said if said.channels == found.width else encoder
        config = cls(found.tokens, found.depth, encoder=encoder)
        title = f"the weights are not of {cls.kind} of this base"
        return config, tables.to_here(names.table(found), arrays, title=title)

    def to_file(self, own: Params, base: Base) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        sizes = names.Sizes(self.tokens, self.encoder.channels, self.depth, token_width(base))
        return tables.to_original(names.table(sizes), own), {}


def style_adapter(config: StyleAdapter, width: int) -> Adapter:
    """The adapter of a model that attends to tokens of this width.

    Where there is no image, as without a condition in guidance, the last tokens of the text stand
    in place of its own, as in the original.
    """
    network = Style(config.tokens, config.depth, config.heads, width)
    shape = config.encoder.places, config.encoder.channels

    def init(key: Array, params: Params) -> Params:
        return network.init(key, jnp.zeros((1, *shape)))["params"]

    def encode(own: Params, inputs: Batch) -> tuple[Array, Array]:
        x = inputs[config.entry]
        return network.apply({"params": own}, x), jnp.any(x != 0, axis=(1, 2)).astype(x.dtype)

    def append(own: Params, hint: tuple[Array, Array], tokens: Array, scale: Any) -> Array:
        style, given = hint
        last = tokens[:, jnp.arange(-config.tokens, 0) % tokens.shape[1]]
        return jnp.where(given[:, None, None] > 0, scale * style, last)

    def null(n: int, h: int, w: int) -> Batch:
        return {config.entry: jnp.zeros((n, *shape))}

    keys = (config.entry,)
    found = Adapter(init, keys, null, dropped=keys, encode=encode)
    return found._replace(append=append, count=config.tokens)
