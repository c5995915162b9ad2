"""ControlNet: a trainable copy of the UNet's encoder, which reads a hint (Zhang, Rao and Agrawala
2023).

The hint is added once, after the copy's first convolution. Each of its outputs passes a layer that
is zero at first, and is added to a skip connection or to the middle of the UNet, so that training
starts from the model as it is.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.adapters.family import check_family
from ldm_jax.adapters.hint import Hinted, Hints
from ldm_jax.adapters.settings import AdapterSection, Arrays, Base
from ldm_jax.backbones.unet import Encoder, UNet, sites
from ldm_jax.errors import InputError
from ldm_jax.nn.conv import conv
from ldm_jax.settings import Levels
from ldm_jax.types import Adapter, Array, Batch, Cond, Params
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import controlnet as names
from ldm_jax.weights.names.diffusers_model import unet_config

UNET_ALONE = ("out_channels", "sample_size", "up_block_types")  # in diffusers' config.json
GUESS = 0.825  # by which an output counts less than the next deeper one, where there is no prompt


@dataclass(frozen=True)
class Guess(AdapterSection):
    """Guess mode (section 4.1)."""

    key: ClassVar[str] = "guess"

    guess: bool = False
    """ControlNets say what is shown without a prompt: their deeper outputs count more, and the
    unconditional images are drawn without them"""


@dataclass(frozen=True)
class ControlNet(Hinted):
    """A copy of a UNet's encoder and the stem of its hint; defaults are those of the published."""

    stem: Levels = (16, 32, 96, 256)  # channels of its levels, each of half the resolution
    pooled: bool = False  # outputs are averaged over space before they are added, as of shuffle
    layout: Literal["original", "diffusers"] = "original"  # of the weights' names, in files
    # a copy of the base's decoder trains as well, and takes its place: sd_locked = False of the
    # original, which then advises a rate of 2e-6
    decoder: bool = False

    kind: ClassVar = "a ControlNet"
    sections: ClassVar = (Hints, Guess)
    has_switch: ClassVar = True

    @property
    def factor(self) -> int:
        """Pixels of a hint per latent in each direction."""
        return 2 ** (len(self.stem) - 1)

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        if base.factor != self.factor:
            raise InputError(
                f"{prefix}stem has {len(self.stem)} levels, for a first stage of factor "
                f"{self.factor}: expected one that halves hints as often as the first stage, of "
                f"factor {base.factor}, halves images"
            )
        if self.decoder and self.layout == "diffusers":
            raise InputError(
                f"{prefix}layout is diffusers, whose files hold no decoder: expected original with "
                f"{prefix}decoder"
            )

    def by_site(self, base: Base, options: Mapping[str, Any]) -> dict[str, float]:
        of, sites = guessed(base.experiment.model), outputs(base.experiment.model)
        return {site: of(site, None) if options["guess"] else 1.0 for site in sites}

    def only_conditional(self, options: Mapping[str, Any]) -> bool:
        return options["guess"]

    @classmethod
    def of_file(
        cls, arrays: Arrays, metadata: Mapping[str, str], base: Base
    ) -> tuple[Self, Params] | None:
        shapes = tables.shapes_of(arrays)
        found = names.recognised(shapes)
        if found is None:
            return None
        pooled = "shuffle" in metadata.get("file", "")
        if text := metadata.get("config.json"):
            pooled = bool(json.loads(text).get("global_pool_conditions", pooled))
        # a whole model is the base's business, a decoder by itself is of ours
        decoder = names.DECODER in shapes and names.ENCODER not in shapes
        config = cls(
            found.hint_channels,
            stem=found.stem,
            pooled=pooled,
            layout=found.layout,
            decoder=decoder,
        )
        if found.context:
            check_family(cls.kind, found.context, base)
        config.check(base, "")
        title = f"the weights are not of {cls.kind} of this base"
        state = {key: arrays[key] for key in arrays if key.startswith(found.prefix)}
        rows = tables.under(config.table(base), there=found.prefix) + config.decoder_table(base)
        state |= {key: arrays[key] for row in config.decoder_table(base) for key in row.keys}
        return config, tables.to_here(rows, state, title=title)

    def to_file(self, own: Params, base: Base) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        there = names.PREFIX if self.layout == "original" else ""
        rows = tables.under(self.table(base), there=there) + self.decoder_table(base)
        return tables.to_original(rows, own), {}

    def decoder_table(self, base: Base) -> tables.Table:
        """The names of the decoder's weights in files, if it has one: those of the base."""
        if not self.decoder:
            return []
        return [
            row._replace(path=f"decoder/{path}")
            for row in base.experiment.original_names().table
            for model, _, path in [row.path.partition("/")]
            if model == "denoiser" and not is_encoder(path.partition("/")[0])
        ]

    def of_diffusers(self, base: Base) -> tuple[Self, dict[str, Any]]:
        condition = base.experiment.condition_names()
        channels = base.model.first_stage.channels + condition.concat
        unet = unet_config(base.experiment.model, channels, channels, condition.tokens, 0)
        theirs = {
            "_class_name": "ControlNetModel",
            "conditioning_channels": self.hint_channels,
            "conditioning_embedding_out_channels": list(self.stem),
            "global_pool_conditions": self.pooled,
        }
        shared = {name: x for name, x in unet.items() if name not in UNET_ALONE}
        return replace(self, layout="diffusers"), shared | theirs

    def table(self, base: Base) -> tables.Table:
        """The names of its weights in files, without a prefix."""
        network = base.experiment.model
        condition = base.experiment.condition_names()
        channels = base.model.first_stage.channels + condition.concat
        rows = names.original(self, network, outputs(network), channels, condition.tokens)
        if self.layout == "original":
            return rows
        return names.diffusers(rows, len(network.channel_mults))

    def convolutions(self, channels: int) -> list[tuple[int, int, int]]:
        """Channels in and out and the stride of each convolution of the stem, `channels` the last.

        Two a level, the second of which halves the resolution.
        """
        widths = [(a, a, 1) for a in self.stem[:-1]], [(a, b, 2) for a, b in pairwise(self.stem)]
        between = [one for pair in zip(*widths, strict=True) for one in pair]
        return [(self.hint_channels, self.stem[0], 1), *between, (self.stem[-1], channels, 1)]

    def build(self, base: Base) -> Adapter:
        return controlnet(self, base.experiment.model)


def controlnet(config: ControlNet, network: UNet) -> Adapter:
    """The adapter of a model with this UNet."""
    encoder, layers = Encoder(network), config.convolutions(network.channels)
    widths = outputs(network)

    def init(key: Array, params: Params) -> Params:
        keys, drawn = jax.random.split(key, len(layers)), jax.nn.initializers.lecun_normal()
        stem = {
            f"conv_{i}": {"kernel": drawn(one, (3, 3, a, b)), "bias": jnp.zeros(b)}
            for i, (one, (a, b, _)) in enumerate(zip(keys, layers, strict=True))
        }
        stem |= {f"conv_{len(layers) - 1}": jax.tree.map(jnp.zeros_like, list(stem.values())[-1])}
        zero = {
            site: {"kernel": jnp.zeros((width, width)), "bias": jnp.zeros(width)}
            for site, width in widths.items()
        }
        network = params["denoiser"].items()
        own = {"stem": stem, "encoder": {n: x for n, x in network if is_encoder(n)}, "zero": zero}
        if config.decoder:
            own["decoder"] = {n: x for n, x in network if not is_encoder(n)}
        return own

    def encode(own: Params, inputs: Batch) -> Array:
        x = inputs[config.entry]  # [B, H, W, hint_channels]
        for i, (_, _, stride) in enumerate(layers):
            layer = own["stem"][f"conv_{i}"]
            x = conv(jax.nn.silu(x) if i else x, layer["kernel"], stride=stride) + layer["bias"]
        return x  # [B, h, w, C]

    def signal(own: Params, hint: Array, z: Array, timestep: Array, cond: Cond) -> Cond:
        skips, middle = encoder.apply({"params": own["encoder"]}, z, timestep, cond, hint)
        found = {}
        for site, x in zip(widths, (*skips, middle), strict=True):
            x = x @ own["zero"][site]["kernel"] + own["zero"][site]["bias"]
            mean = jnp.mean(x, axis=(1, 2), keepdims=True) if config.pooled else x
            found[site] = jnp.broadcast_to(mean, x.shape)
        return Cond(added=found)

    def null(n: int, h: int, w: int) -> Batch:
        shape = (n, h * config.factor, w * config.factor, config.hint_channels)
        return {config.entry: jnp.zeros(shape)}

    def weights(own: Params, params: Params, scale) -> Params:
        network = params["denoiser"]
        moved = jax.tree.map(
            lambda a, b: (a + scale * (b - a)).astype(a.dtype),
            {name: network[name] for name in own["decoder"]},
            own["decoder"],
        )
        return {**params, "denoiser": {**network, **moved}}

    found = Adapter(init, (config.entry,), null, encode=encode, signal=signal)
    return found._replace(weights=weights) if config.decoder else found


def outputs(network: UNet) -> dict[str, int]:
    """The sites to which a ControlNet adds, in order, and their channels."""
    return {
        name: site.channels
        for name, site in sites(network).items()
        if name.startswith("skip_") or name == "mid"
    }


def is_encoder(name: str) -> bool:
    """Whether a part of a UNet's params, by its name, belongs to the encoder or the middle."""
    return not name.startswith("up_") and name not in ("norm_out", "conv_out")


def guessed(network: UNet, scale: float = 1.0) -> Callable[[str, Array], float]:
    """The scale of guess mode: at site i of n, scale 0.825^(n - 1 - i), 1 in the middle."""
    names = list(outputs(network))
    return lambda site, timestep: scale * GUESS ** (len(names) - 1 - names.index(site))


def only_middle(scale: float = 1.0) -> Callable[[str, Array], float]:
    """The scale with which nothing is added to the skip connections."""
    return lambda site, timestep: scale if site == "mid" else 0.0
