"""ControlNet: a trainable copy of the UNet's encoder, which reads a hint (Zhang, Rao and Agrawala
2023).

The hint is added once, after the copy's first convolution. Each of its outputs passes a layer that
is zero at first, and is added to a skip connection or to the middle of the UNet, so that training
starts from the model as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import jax
import jax.numpy as jnp

from ldm_jax.adapters.hint import Hinted
from ldm_jax.adapters.settings import Base
from ldm_jax.backbones.unet import Encoder, UNet, sites
from ldm_jax.errors import InputError
from ldm_jax.nn.conv import conv
from ldm_jax.settings import Levels
from ldm_jax.types import Adapter, Array, Batch, Cond, Params

GUESS = 0.825  # by which an output counts less than the next deeper one, where there is no prompt


@dataclass(frozen=True)
class ControlNet(Hinted):
    """A copy of a UNet's encoder and the stem of its hint; defaults are those of the published."""

    stem: Levels = (16, 32, 96, 256)  # channels of its levels, each of half the resolution
    pooled: bool = False  # outputs are averaged over space before they are added, as of shuffle

    kind: ClassVar = "a ControlNet"
    has_guess: ClassVar = True

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

    def by_site(self, base: Base, guess: bool) -> dict[str, float]:
        of = guessed(base.experiment.model)
        return {site: of(site, None) if guess else 1.0 for site in outputs(base.experiment.model)}

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
        copied = {n: x for n, x in params["denoiser"].items() if is_encoder(n)}
        return {"stem": stem, "encoder": copied, "zero": zero}

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

    return Adapter(init, (config.entry,), null, encode=encode, signal=signal)


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
