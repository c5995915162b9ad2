"""IP-Adapter: cross-attention to an image, beside that to the text (Ye et al. 2023).

    softmax(q k^T / sqrt(d)) v + scale * softmax(q k'^T / sqrt(d)) v'        (eq. 5)

k' and v' are of tokens that a projection makes of a CLIP image encoder's output: of its embedding
(IP-Adapter), by a resampler of its hidden states (Plus), or of each hidden state (Full). The image
is encoded outside of the model, once, so that the adapter is what is trained, and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.adapters.family import check_family, token_width
from ldm_jax.adapters.image_encoder import ImageEncoder
from ldm_jax.adapters.settings import AdapterSection, AdapterSettings, Arrays, Base, Files
from ldm_jax.conditioning.clip_image import prepared
from ldm_jax.data.given import load_rows, open_image
from ldm_jax.errors import InputError
from ldm_jax.nn.gelu import gelu
from ldm_jax.nn.resampler import Resampler
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Adapter, Array, Batch, Cond, Derive, Params, Site
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import diffusers_model
from ldm_jax.weights.names import ip_adapter as names
from ldm_jax.weights.names.layers import dense

EPSILON = 1e-5  # of the norm behind a projection
ENCODERS = {  # of published adapters, by the channels of their output: embeddings, hidden states
    1024: ImageEncoder(),
    1280: ImageEncoder(channels=1664, layers=48, num_heads=16, dim=1280),  # ViT-bigG/14
}


@dataclass(frozen=True)
class ImagePrompts(AdapterSection):
    """Images that say what is shown."""

    key: ClassVar[str] = "image_prompts"
    files: ClassVar = {"image_prompt": "IMAGE"}

    image_prompt: Files = ()
    """images that say what is shown, for IP-Adapters"""


@dataclass(frozen=True)
class IPAdapter(AdapterSettings):
    """Keys and values of an image, for each cross-attention; defaults are the first published's.

    Plus: projection="resampler", tokens=16.
    """

    # of the encoder's embedding to a few tokens; a resampler of its hidden states; or each of them
    projection: Literal["linear", "resampler", "full"] = "linear"
    tokens: AtLeast1 = 4  # of an image; "full" has as many as there are hidden states
    width: AtLeast1 = 768  # of the resampler
    depth: AtLeast1 = 4  # its blocks
    heads: AtLeast1 = 12  # its attention heads
    head_channels: AtLeast1 = 64  # of each
    encoder: ImageEncoder = field(default_factory=ImageEncoder)
    images: AtLeast1 = 1  # image prompts that are attended to together
    entry: str = "image_prompt"  # of a batch

    kind: ClassVar = "an IP-Adapter"
    sections: ClassVar = (ImagePrompts,)

    @property
    def hidden(self) -> bool:
        """Whether it reads the encoder's hidden states, not its embedding."""
        return self.projection != "linear"

    @property
    def into(self) -> int:
        """Channels of what it reads."""
        return self.encoder.channels if self.hidden else self.encoder.dim

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        crossed_width(base)
        self.encoder.check(f"{prefix}encoder.")

    def found(self) -> Self:
        return replace(self, encoder=self.encoder.found())

    def named(self, name: str) -> Self:
        return replace(self, entry=f"{self.entry}.{name}")

    def build(self, base: Base) -> Adapter:
        return ip_adapter(self, base.model.backbone.sites, crossed_width(base))

    def derive(self, factor: int) -> dict[str, Derive]:
        """The image itself is the prompt for it."""

        def make(example: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
            return self.encoded([Image.fromarray(np.asarray(example["image"]))])

        return {self.entry: make} if self.images == 1 else {}

    def given(self, options: Mapping[str, Any], size: tuple[int, int], data: Any) -> Batch:
        each = np.concatenate([self.read_prompt(file, data) for file in options["image_prompt"]])
        if len(each) % self.images:
            raise InputError(
                f"--image-prompt has {len(each)} images for {self.kind} that attends to "
                f"{self.images} together: expected a multiple"
            )
        return {self.entry: each.reshape(-1, self.images, *each.shape[1:])}

    def read_prompt(self, file: str, data: Any) -> np.ndarray:
        """The encoder's output for an image, or those that a .npy holds, [n, ...]."""
        if not file.endswith(".npy"):
            return self.encoded([open_image(file, "--image-prompt", data)])
        expected = (self.encoder.places, self.into) if self.hidden else (self.into,)
        return load_rows(file, "--image-prompt", expected, "outputs of the image encoder")

    def encoded(self, images: Sequence[Image.Image]) -> np.ndarray:
        """The encoder's output for images: [images, dim], or [images, places, channels]."""
        x = np.stack([prepared(image, self.encoder.size) for image in images])
        return self.encoder.embedded(x, self.hidden)

    def nothing(self) -> np.ndarray:
        """The output that stands for no image: a zero embedding, or the hidden states of an image
        of zeros, that is of the mean colour."""
        if not self.hidden:
            return np.zeros((self.images, self.into), np.float32)
        size = self.encoder.size
        x = np.zeros((1, size, size, 3), np.float32)
        return np.repeat(self.encoder.embedded(x, hidden=True), self.images, axis=0)

    @classmethod
    def of_file(
        cls, arrays: Arrays, metadata: Mapping[str, str], base: Base
    ) -> tuple[Self, Params] | None:
        sites = base.model.backbone.sites
        state = names.published(arrays, lambda: modules(sites))
        if state is None:
            return None
        found, width = names.recognised(tables.shapes_of(state)), crossed_width(base)
        check_family(cls.kind, found.width, base)
        hidden = found.settings["projection"] != "linear"
        encoder = ENCODERS.get(found.into, ImageEncoder(dim=found.into))
        if hidden:
            encoder = ImageEncoder(channels=found.into)
        said = encoder.beside(metadata)
        fits = found.into == (said.channels if hidden else said.dim)
        encoder = said if fits else replace(encoder, file=said.file)
        config = cls(**found.settings, encoder=encoder)
        rows = config.table(sites, width)
        title = f"the weights are not of {cls.kind} of this base"
        return config, tables.to_here(rows, state, title=title)

    def to_file(self, own: Params, base: Base) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        rows = self.table(base.model.backbone.sites, crossed_width(base))
        return tables.to_original(rows, own), {}

    def table(self, sites: Mapping[str, Site], width: int) -> tables.Table:
        """The published names of its weights, for tokens of this width."""
        projection = names.projection(self, self.into, width)
        return [*projection, *names.attention(crossing(sites), width)]


def ip_adapter(config: IPAdapter, sites: Mapping[str, Site], width: int) -> Adapter:
    """The adapter of a model with these cross-attention layers and tokens of this width."""
    layers = tuple(crossing(sites))

    def init(key: Array, params: Params) -> Params:
        """The keys and values start as the text's."""
        there = tables.flattened(params["denoiser"])
        paths = [f"{layer}/{part}/kernel" for layer in layers for part in ("k", "v")]
        copied = tables.nested({path: there[path] for path in paths})
        return {"image": init_projection(config, key, width), "attention": copied}

    def encode(own: Params, inputs: Batch) -> dict[str, tuple[Array, Array]]:
        tokens = image_tokens(config, own["image"], inputs[config.entry], width)
        return keys_and_values(own["attention"], tokens, layers)

    def signal(own: Params, hint: Mapping, z: Array, timestep: Array, cond: Cond) -> Cond:
        return Cond(attention={layer: ((k, v, 1.0),) for layer, (k, v) in hint.items()})

    def null(n: int, h: int, w: int) -> Batch:
        nothing = jnp.asarray(config.nothing())
        return {config.entry: jnp.broadcast_to(nothing, (n, *nothing.shape))}

    keys = (config.entry,)
    return Adapter(init, keys, null, dropped=keys, encode=encode, signal=signal)


def init_projection(config: IPAdapter, key: Array, width: int) -> Params:
    """The weights of the projection to tokens of this width, drawn."""
    if config.projection == "resampler":
        return network(config, width).init(key, jnp.zeros((1, 1, config.into)))["params"]

    def layer(key: Array, into: int, out: int) -> Params:
        kernel = jax.nn.initializers.lecun_normal()(key, (into, out))
        return {"kernel": kernel, "bias": jnp.zeros(out)}

    norm = {"scale": jnp.ones(width), "bias": jnp.zeros(width)}
    if config.projection == "linear":
        return {"project": layer(key, config.into, config.tokens * width), "norm": norm}
    first, second = jax.random.split(key)
    into = config.into
    return {"in": layer(first, into, into), "out": layer(second, into, width), "norm": norm}


def network(config: IPAdapter, width: int) -> Resampler:
    """The resampler."""
    c = config
    return Resampler(c.tokens, c.width, c.depth, c.head_channels, c.heads, width)


def image_tokens(config: IPAdapter, own: Params, encoded: Array, width: int) -> Array:
    """The tokens of image prompts, [B, images tokens, width].

    Args:
        encoded: [B, images, dim], or [B, images, places, channels].
    """
    B = len(encoded)
    x = encoded.reshape(-1, *encoded.shape[2:])
    if config.projection == "resampler":
        x = network(config, width).apply({"params": own}, x)
    elif config.projection == "linear":
        x = normed(linear(own["project"], x).reshape(len(x), config.tokens, width), own["norm"])
    else:
        x = normed(linear(own["out"], gelu(linear(own["in"], x))), own["norm"])
    return x.reshape(B, -1, width)


def linear(layer: Params, x: Array) -> Array:
    """x [..., C] -> [..., F]."""
    return x @ layer["kernel"] + layer["bias"]


def normed(x: Array, layer: Params) -> Array:
    """A layer norm of x [..., C]."""
    mean, variance = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + EPSILON) * layer["scale"] + layer["bias"]


def keys_and_values(
    own: Params, tokens: Array, layers: Sequence[str]
) -> dict[str, tuple[Array, Array]]:
    """Layer -> keys and values [B, n, channels] of tokens [B, n, width]."""
    flat = tables.flattened(own)
    return {
        layer: tuple(tokens @ flat[f"{layer}/{part}/kernel"] for part in ("k", "v"))
        for layer in layers
    }


def crossing(sites: Mapping[str, Site]) -> dict[str, int]:
    """The cross-attention layers of a network and their channels, in the published order."""
    return {name: site.channels for name, site in sites.items() if site.attention}


def modules(sites: Mapping[str, Site]) -> list[str]:
    """The same as diffusers calls them."""
    levels = sum(name.startswith("down_") and not site.attention for name, site in sites.items())
    rows = [
        row for layer in crossing(sites) for row in dense(f"{layer}/k", layer, 1, 1, bias=False)
    ]
    renamed = diffusers_model.unet_names(rows, levels)
    return [row.keys[0].removesuffix(".to_k.weight") for row in renamed]


def crossed_width(base: Base) -> int:
    """Width of the tokens to which a base attends.

    Raises:
        InputError: it attends to none, or its network has no cross-attention layers.
    """
    width = token_width(base)
    if width is None or not crossing(base.model.backbone.sites):
        raise InputError(
            "an IP-Adapter adds to cross-attention: expected a base with a UNet that attends to "
            "tokens, such as captions"
        )
    return width
