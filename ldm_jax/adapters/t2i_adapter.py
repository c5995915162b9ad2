"""T2I-Adapter: a pyramid of features of a hint, added to the UNet's encoder (Mou et al. 2023).

The features depend on neither the latents nor the timestep: they are computed once an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.adapters.hint import Hinted
from ldm_jax.adapters.settings import Arrays, Base
from ldm_jax.errors import InputError
from ldm_jax.nn.conv import conv
from ldm_jax.nn.unshuffle import unshuffled
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Adapter, Array, Batch, Cond, Params, Site
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import t2i_adapter as names
from ldm_jax.weights.names.diffusers_model import VERSION

Places = Literal["sd", "sdxl"]
HINTS = (1, 3)  # channels of the hints of published ones
NARROW = 4  # by which the light network's blocks are narrower than its features


class Level(NamedTuple):
    """A feature, by where it is added."""

    site: str
    channels: int
    halved: bool  # whether it has half the resolution of the one before


class Layer(NamedTuple):
    """A convolution by its path in the params."""

    path: str  # with slashes
    into: int  # channels
    out: int
    size: int  # of its kernel, a side


@dataclass(frozen=True)
class T2IAdapter(Hinted):
    """A pyramid of features; defaults are those of the published full adapter."""

    size: Literal["full", "light"] = "full"  # of its network
    blocks: AtLeast1 = 2  # residual blocks of a level; the published light ones have 4
    # where features are added: "sd", at the end of each level of the UNet's encoder; "sdxl", after
    # the first downsampling, at the end of each later level, and after the middle
    places: Places = "sd"
    zero_init: bool = True  # the first convolution is zero at first; False: drawn, as the original
    layout: Literal["original", "diffusers"] = "original"  # of the weights' names, in files

    kind: ClassVar = "a T2I-Adapter"

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        for level in self.levels(base.model.backbone.sites):
            if self.size == "light" and level.channels % NARROW:
                raise InputError(
                    f"{prefix}size is 'light' and a level of the base has {level.channels} "
                    f"channels: expected multiples of {NARROW}, or {prefix}size 'full'"
                )

    def build(self, base: Base) -> Adapter:
        return self.network(base.model.backbone.sites, base.factor)

    @classmethod
    def of_file(
        cls, arrays: Arrays, metadata: Mapping[str, str], base: Base
    ) -> tuple[Self, Params] | None:
        found = names.recognised(tables.shapes_of(arrays))
        if found is None:
            return None
        sites, factor = base.model.backbone.sites, base.factor
        config = cls._like(found, sites, factor)
        there = names.PREFIX if config.layout == "diffusers" else ""
        state = {there + key.removeprefix(found.prefix): arrays[key] for key in arrays}
        title = f"the weights are not of {cls.kind} of this base"
        return config, tables.to_here(config.table(sites, factor), state, title=title)

    def to_file(self, own: Params, base: Base) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        sites, factor = base.model.backbone.sites, base.factor
        return tables.to_original(self.table(sites, factor), own), {}

    def of_diffusers(self, base: Base) -> tuple[Self, dict[str, Any]]:
        sites, factor = base.model.backbone.sites, base.factor
        kind = f"{self.size}_adapter" + "_xl" * (self.places == "sdxl")
        return replace(self, layout="diffusers"), {
            "_class_name": "T2IAdapter",
            "_diffusers_version": VERSION,
            "adapter_type": kind,
            "in_channels": self.hint_channels,
            "channels": [level.channels for level in self.levels(sites)],
            "num_res_blocks": self.blocks,
            "downscale_factor": self.shuffle(sites, factor),
        }

    @classmethod
    def _like(cls, found: names.Found, sites: Mapping[str, Site], factor: int) -> Self:
        """The settings of what a file holds, for a UNet with these sites."""
        settings = {}  # by the channels of a hint with its pixels joined
        for places in get_args(Places) if "below_0" in sites else ("sd",):
            config = cls(size=found.size, blocks=found.blocks, places=places, layout=found.layout)
            pixels = config.shuffle(sites, factor) ** 2
            settings |= {n * pixels: replace(config, hint_channels=n) for n in HINTS}
        if found.into not in settings:
            raise InputError(
                f"the T2I-Adapter reads hints as {found.into} channels: expected one of "
                f"{', '.join(map(str, settings))}, as of a base like this"
            )
        config = settings[found.into]
        widths = [level.channels for level in config.levels(sites)]
        if found.widths != widths:
            family = "SDXL" if config.places == "sdxl" else "Stable Diffusion 1"
            raise InputError(
                f"the T2I-Adapter is made as for {family}, with features of "
                f"{', '.join(map(str, found.widths))} channels: expected "
                f"{', '.join(map(str, widths))}, those of the base"
            )
        return config

    def table(self, sites: Mapping[str, Site], factor: int) -> tables.Table:
        """The names of its weights in files."""
        levels, shuffle = self.levels(sites), self.shuffle(sites, factor)
        layers = self.layers(levels, self.hint_channels * shuffle**2)
        if self.layout == "diffusers":
            return names.diffusers(layers)
        return names.original(layers, self.size == "full", self.blocks)

    def levels(self, sites: Mapping[str, Site]) -> list[Level]:
        """The features, of a UNet with these sites.

        Raises:
            InputError: it has no such sites.
        """
        count = sum(name.startswith("down_") and not site.attention for name, site in sites.items())
        ends = [f"down_{i}" for i in range(count)]
        chosen = ["below_0", *ends[1:], "mid"] if self.places == "sdxl" else ends
        if not count or not sites.keys() >= set(chosen):
            least = "two or more" if self.places == "sdxl" else "some"
            raise InputError(
                f"{self.kind} adds to the levels of a UNet: expected a base that has {least}"
            )
        factors = [sites[name].factor for name in chosen]
        before = [factors[0], *factors[:-1]]
        return [
            Level(name, sites[name].channels, factor > last)
            for name, factor, last in zip(chosen, factors, before, strict=True)
        ]

    def shuffle(self, sites: Mapping[str, Site], factor: int) -> int:
        """Pixels of a hint per place of the first feature, in each direction.

        Args:
            factor: pixels per latent.
        """
        return factor * sites[self.levels(sites)[0].site].factor

    def layers(self, levels: list[Level], in_channels: int) -> list[Layer]:
        """All convolutions, in order.

        Args:
            in_channels: of the hint with its places joined.
        """
        full, width = self.size == "full", in_channels
        found = []
        if full:
            width = levels[0].channels
            found = [Layer("conv_in", in_channels, width, 3)]
        for i, level in enumerate(levels):
            inner = level.channels if full else level.channels // NARROW
            if width != inner or not full:
                found.append(Layer(f"level_{i}/in", width, inner, 1))
            for j in range(self.blocks):
                place = f"level_{i}/block_{j}"
                found.append(Layer(f"{place}/conv1", inner, inner, 3))
                found.append(Layer(f"{place}/conv2", inner, inner, 1 if full else 3))
            if not full:
                found.append(Layer(f"level_{i}/out", inner, level.channels, 1))
            width = level.channels
        return found

    def network(self, sites: Mapping[str, Site], factor: int) -> Adapter:
        """The adapter of a UNet with these sites, whose latents have `factor` pixels a side."""
        levels, shuffle = self.levels(sites), self.shuffle(sites, factor)
        layers = self.layers(levels, self.hint_channels * shuffle**2)

        def init(key: Array, params: Params) -> Params:
            del params
            keys, draw = jax.random.split(key, len(layers)), jax.nn.initializers.lecun_normal()
            own = {}
            for i, (one, layer) in enumerate(zip(keys, layers, strict=True)):
                shape = (layer.size, layer.size, layer.into, layer.out)
                zero = self.zero_init and i == 0
                own[f"{layer.path}/kernel"] = jnp.zeros(shape) if zero else draw(one, shape)
                own[f"{layer.path}/bias"] = jnp.zeros(layer.out)
            return tables.nested(own)

        def encode(own: Params, inputs: Batch) -> dict[str, Array]:
            return features(own, unshuffled(inputs[self.entry], shuffle), levels)

        def signal(own: Params, hint: Mapping, z: Array, timestep: Array, cond: Cond) -> Cond:
            return Cond(added=hint)

        def null(n: int, h: int, w: int) -> Batch:
            return {self.entry: jnp.zeros((n, h * factor, w * factor, self.hint_channels))}

        return Adapter(init, (self.entry,), null, encode=encode, signal=signal)


def features(own: Params, x: Array, levels: list[Level]) -> dict[str, Array]:
    """The features of hints x [B, h, w, C], whose pixels are joined, by site."""
    found = {}
    if "conv_in" in own:
        x = convolved(own["conv_in"], x)
    for i, level in enumerate(levels):
        parts = own[f"level_{i}"]
        x = halved(x) if level.halved else x
        x = convolved(parts["in"], x) if "in" in parts else x
        for j in range(sum(name.startswith("block_") for name in parts)):
            block = parts[f"block_{j}"]
            x = x + convolved(block["conv2"], jax.nn.relu(convolved(block["conv1"], x)))
        x = convolved(parts["out"], x) if "out" in parts else x
        found[level.site] = x
    return found


def convolved(layer: Params, x: Array) -> Array:
    """A convolution that keeps the size."""
    kernel = layer["kernel"]
    y = x @ kernel[0, 0] if len(kernel) == 1 else conv(x, kernel)
    return y + layer["bias"]


def halved(x: Array) -> Array:
    """[B, h, w, C] -> [B, h / 2, w / 2, C], means of 2 x 2."""
    B, h, w, C = x.shape
    return jnp.mean(x.reshape(B, h // 2, 2, w // 2, 2, C), axis=(2, 4))
