"""The UNet of latent diffusion, with cross-attention (Rombach et al. 2022, section 3.3)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.backbones.settings import BackboneSettings
from ldm_jax.errors import InputError
from ldm_jax.nn.attention import SpatialSelfAttention
from ldm_jax.nn.conv import Conv3x3
from ldm_jax.nn.embedding import step_embedding, two_layers
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.repeat import repeated, summed
from ldm_jax.nn.resnet import Downsample, ResBlock, halved
from ldm_jax.nn.transformer import SpatialTransformer
from ldm_jax.nn.upsample import Upsample, doubled
from ldm_jax.settings import AtLeast1, Factors, Levels, check_divides
from ldm_jax.types import Array, Backbone, Cond, Params, Site


@dataclass(frozen=True)
class UNet(BackboneSettings):
    """The denoiser (Rombach et al. 2022, section 3.2); defaults are the original's txt2img-1p4B."""

    channels: AtLeast1 = 320  # of the first level
    channel_mults: Levels = (1, 2, 4, 4)  # channels of each level, in those of the first
    num_res_blocks: AtLeast1 = 2  # residual blocks of a level
    attention_factors: Factors = (4, 2, 1)  # downsampling factors with attention
    num_heads: AtLeast1 = 8  # attention heads
    head_channels: AtLeast1 | None = None  # width of a head; decides the number of heads where set
    transformer_depth: AtLeast1 = 1  # blocks of each transformer
    cross_only_factors: Factors = ()  # of these, those with cross-attention only
    # attention is to the tokens and the image at once, in place of transformers (GLIDE)
    joint_attention: bool = False
    mid_attention: bool = True  # attention in the middle, too
    linear_projections: bool = False  # in files: not 1x1 convolutions before and after transformers
    scale_shift: bool = False  # the step scales and shifts inside residual blocks
    resample_blocks: bool = False  # residual blocks change the resolution, not lone convolutions
    # of a vector that two layers add to the step; None: as it is
    vector_dim: AtLeast1 | None = None
    # of a table that has a vector for a number; None: no numbers
    vector_entries: AtLeast1 | None = None
    positions: bool = False  # position embeddings for attention (the original has none)
    norm_groups: AtLeast1 = 32  # of group normalisation; fewer where channels are few
    remat: Literal["none", "dots", "full"] = "none"  # compute again in the backward pass: what
    # residual blocks and transformers hold; all but their products of matrices; all
    compute: Literal["float32", "bfloat16"] = "float32"  # but for norms, softmax, the step's
    # embedding and the last convolution; weights are float32

    @property
    def multiple(self) -> int:
        return 2 ** (len(self.channel_mults) - 1)

    @property
    def vector_width(self) -> int:
        return self.vector_dim or 4 * self.channels

    def heads(self, prefix: str) -> list[tuple[str, int]]:
        if not self.head_channels:
            return [(f"{prefix}num_heads", self.num_heads)]
        widths = [mult * self.channels for mult in self.channel_mults]
        return [(f"{prefix}head_channels", width // self.head_channels) for width in widths]

    def check(self, prefix: str) -> None:
        check_divides(self, "head_channels" if self.head_channels else "num_heads", prefix)
        check_divides(self, "norm_groups", prefix)
        if self.positions and self.channels % 4:
            raise InputError(
                f"{prefix}channels is {self.channels}: expected a multiple of 4, since "
                f"{prefix}positions tells attention rows and columns by sines and cosines"
            )
        own = ("transformer_depth", "cross_only_factors", "linear_projections", "positions")
        for name in own if self.joint_attention else ():
            if getattr(self, name) != getattr(UNet, name):
                raise InputError(
                    f"{prefix}{name} is {getattr(self, name)}: expected {getattr(UNet, name)} with "
                    f"{prefix}joint_attention, which has no transformers"
                )
        for factor in set(self.cross_only_factors) - set(self.attention_factors):
            raise InputError(
                f"{prefix}cross_only_factors has {factor}: expected some of "
                f"{prefix}attention_factors, which are "
                f"{', '.join(map(str, self.attention_factors)) or 'none'}"
            )

    def build(self, in_channels: int, out_channels: int) -> Backbone:
        return unet(self, in_channels, out_channels)


EPSILON = 1e-5
KEPT = {  # of what a block holds between the passes, by the config's `remat`
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}
UNCONDITIONAL = Cond()


def unet(config: UNet, in_channels: int, out_channels: int) -> Backbone:
    """The UNet as functions.

    Args:
        in_channels: of z, without those of `Cond.concat`.
    """
    module, multiple, places = UNetModule(config, out_channels), config.multiple, sites(config)

    def init(key: Array, cond: Cond) -> Params:
        z = jnp.zeros((1, multiple, multiple, in_channels))
        return module.init(key, z, jnp.zeros(1, jnp.int32), cond)["params"]

    def apply(params: Params, z: Array, timestep: Array, cond: Cond) -> Array:
        check_sites(places, cond)
        return module.apply({"params": params}, z, timestep, cond)

    return Backbone(init, apply, precompute, multiple, shares=True, sites=places)


def sites(config: UNet) -> dict[str, Site]:
    """Where adapters may add something.

    skip_0, skip_1, ...: each connection from the encoder to the decoder, the first after conv_in;
    mid: after the middle; down_0, down_1, ...: at the end of each level, before its last skip and
    its downsampling; below_0, ...: after a level's downsampling, before its skip.
    Cross-attention layers by the name of their params, the encoder's first, then
    the decoder's, then the middle's: the order in which adapters of Stable Diffusion are published.
    """
    widths = [mult * config.channels for mult in config.channel_mults]
    last = len(widths) - 1
    skips = [Site(1, config.channels)]
    for level, width in enumerate(widths):
        skips += [Site(2**level, width)] * config.num_res_blocks
        skips += [Site(2 ** (level + 1), width)] * (level < last)
    found = {f"skip_{i}": site for i, site in enumerate(skips)}
    found["mid"] = Site(2**last, widths[last])
    for level, width in enumerate(widths):
        found[f"down_{level}"] = Site(2**level, width)
        if level < last:
            found[f"below_{level}"] = Site(2 ** (level + 1), width)

    def crossing(name, level):
        for i in range(0 if config.joint_attention else config.transformer_depth):
            found[f"{name}/block_{i}/cross"] = Site(2**level, widths[level], attention=True)

    levels = [level for level in range(last + 1) if 2**level in config.attention_factors]
    for level in levels:
        for i in range(config.num_res_blocks):
            crossing(f"down_{level}_attn_{i}", level)
    for level in reversed(levels):
        for i in range(config.num_res_blocks + 1):
            crossing(f"up_{level}_attn_{i}", level)
    if config.mid_attention:
        crossing("mid_attn", last)
    return found


def check_sites(sites: Mapping[str, Site], cond: Cond) -> None:
    """Raises InputError for an entry of `added` without a site in the network."""
    for field, attention in (("added", False), ("attention", True)):
        known = [name for name, site in sites.items() if site.attention == attention]
        unknown = sorted(set(getattr(cond, field) or ()) - set(known))
        if unknown:
            names = ", ".join(known)
            raise InputError(f"an adapter adds to {unknown[0]}: expected one of {names}")
    if cond.attention and cond.tokens is None:
        raise InputError(
            "an adapter adds to cross-attention: expected a model that attends to tokens"
        )


def precompute(params: Params, cond: Cond) -> Cond:
    """The condition with the keys and values of its tokens, which no timestep changes.

    Args:
        params: of the network.
    """

    def layers(params, path=()):
        if "cross" in params:
            yield "/".join((*path, "cross")), params["cross"]
            return
        for name, inner in params.items():
            if isinstance(inner, Mapping):
                yield from layers(inner, (*path, name))

    if cond.tokens is None:
        return cond
    further, attention = cond.attention or {}, {}
    for name, layer in layers(params):
        k, v = (cond.tokens @ layer[part]["kernel"] for part in ("k", "v"))
        attention[name] = ((k, v, None), *further.get(name, ()))
    return cond.replace(attention=attention or None)


class Layers(NamedTuple):
    """The layers of a network at one timestep and condition, made in the module that calls them."""

    config: UNet
    embedding: Array  # [B, E] of the timestep, or [k B, E] with the condition's vector
    cond: Cond

    def make(self, kind: type[nn.Module], *args, **settings) -> nn.Module:
        """A layer that recomputes in the backward pass what `remat` says."""
        remat = self.config.remat
        made = nn.remat(kind, policy=KEPT[remat]) if remat != "none" else kind
        return made(*args, dtype=self.config.compute, **settings)

    def res(
        self, x: Array, channels: int, name: str, resample: Callable[[Array], Array] | None = None
    ) -> Array:
        """A residual block, which knows the timestep."""
        c = self.config
        block = self.make(
            ResBlock,
            channels,
            c.norm_groups,
            EPSILON,
            zero_init=True,
            scale_shift=c.scale_shift,
            resample=resample,
            name=name,
        )
        return block(x, repeated(self.embedding, len(x)))

    def attend(self, x: Array, name: str, factor: int | None = None) -> Array:
        """Attention to the tokens; self-attention alone where there are none."""
        c, cond, channels = self.config, self.cond, x.shape[-1]
        heads = channels // c.head_channels if c.head_channels else c.num_heads
        if cond.tokens is None or c.joint_attention:
            settings = {"zero_init": True, "name": name}
            layer = self.make(SpatialSelfAttention, heads, c.norm_groups, EPSILON, **settings)
            return layer(x, cond.tokens, cond.mask)
        transformer = self.make(
            SpatialTransformer,
            heads,
            channels // heads,
            c.transformer_depth,
            c.norm_groups,
            c.positions,
            cross_only=factor in c.cross_only_factors,
            name=name,
        )
        if not cond.attention:
            return transformer(x, cond.tokens, cond.mask)
        names = [f"{name}/block_{i}/cross" for i in range(c.transformer_depth)]
        entries = tuple(cond.attention.get(layer, ()) for layer in names)
        return transformer(x, cond.tokens, cond.mask, entries)

    def downsample(self, x: Array, name: str) -> Array:
        """Half the resolution."""
        if self.config.resample_blocks:
            return self.res(x, x.shape[-1], name, halved)
        return Downsample(((1, 1), (1, 1)), self.config.compute, name=name)(x)

    def upsample(self, x: Array, name: str) -> Array:
        """Twice the resolution."""
        if self.config.resample_blocks:
            return self.res(x, x.shape[-1], name, doubled)
        return Upsample(self.config.compute, name=name)(x)

    def add(self, x: Array, site: str) -> Array:
        """x with what `Cond.added` has for the site."""
        more = (self.cond.added or {}).get(site)
        return x if more is None else summed(x, more.astype(x.dtype))


def start(config: UNet, z: Array, timestep: Array, cond: Cond) -> tuple[Layers, Array]:
    """What all layers share, and z with the further input channels.

    Where the condition counts from the start, both are of k B latents, else of B.
    """
    if cond.vector is not None or cond.concat is not None:
        z, timestep = repeated(z, cond.count), repeated(timestep, cond.count)
    width = 4 * config.channels
    embedding = two_layers(step_embedding(timestep, config.channels), width, "time")
    if cond.vector is not None:
        vector = cond.vector
        if config.vector_entries:
            normal = nn.initializers.normal(0.02)
            table = nn.Embed(config.vector_entries, width, embedding_init=normal, name="vector")
            vector = table(vector)
        embedding += two_layers(vector, width, "vector") if config.vector_dim else vector
    if cond.concat is not None:
        z = jnp.concatenate([z, cond.concat], axis=-1)
    return Layers(config, embedding, cond), z


def encode(layers: Layers, z: Array, hint: Array | None = None) -> tuple[list[Array], Array]:
    """The way down and the middle.

    Args:
        hint: [B, h, w, channels] to add after the first convolution, a ControlNet's.

    Returns:
        The skip connections, from the first on, and the last hidden state.
    """
    c = layers.config
    x = Conv3x3(c.channels, dtype=c.compute, name="conv_in")(z)
    if hint is not None:
        x = summed(x, hint.astype(x.dtype))
    skips = [x]
    for level, mult in enumerate(c.channel_mults):
        for i in range(c.num_res_blocks):
            x = layers.res(x, mult * c.channels, f"down_{level}_res_{i}")
            if 2**level in c.attention_factors:
                x = layers.attend(x, f"down_{level}_attn_{i}", 2**level)
            if i == c.num_res_blocks - 1:
                x = layers.add(x, f"down_{level}")
            skips.append(x)
        if level < len(c.channel_mults) - 1:
            x = layers.downsample(x, f"down_{level}_downsample")
            x = layers.add(x, f"below_{level}")
            skips.append(x)
    x = layers.res(x, x.shape[-1], "mid_res_0")
    if c.mid_attention:
        x = layers.attend(x, "mid_attn")
    return skips, layers.res(x, x.shape[-1], "mid_res_1")


def decode(layers: Layers, skips: list[Array], x: Array) -> Array:
    """The decoder, from the middle's hidden state."""
    c, skips = layers.config, list(skips)
    for level, mult in reversed(list(enumerate(c.channel_mults))):
        for i in range(c.num_res_blocks + 1):
            x = jnp.concatenate([x, repeated(skips.pop(), len(x))], axis=-1)
            x = layers.res(x, mult * c.channels, f"up_{level}_res_{i}")
            if 2**level in c.attention_factors:
                x = layers.attend(x, f"up_{level}_attn_{i}", 2**level)
        if level > 0:
            x = layers.upsample(x, f"up_{level}_upsample")
    return x


class Encoder(nn.Module):
    """The UNet without its decoder, with the same names of params (ControlNet copies these)."""

    config: UNet

    @nn.compact
    def __call__(self, z, timestep, cond: Cond = UNCONDITIONAL, hint=None):
        """See `encode`."""
        layers, z = start(self.config, z, timestep, cond)
        return encode(layers, z, hint)


class UNetModule(nn.Module):
    """z and timestep to a prediction of z's shape.

    Where the condition has tokens, attention is a spatial transformer that attends to them;
    where it has none, it is plain self-attention, as in the original's unconditional models.
    """

    config: UNet
    out_channels: int

    @nn.compact
    def __call__(self, z, timestep, cond: Cond = UNCONDITIONAL):
        """z [B, h, w, c], timestep [B] counted from 0 -> [k B, h, w, out_channels].

        The condition is one of k B, k of each latent one after the other. What comes before the
        first tokens is computed once for the k.
        """
        c, count = self.config, cond.count or len(z)
        layers, z = start(c, z, timestep, cond)
        skips, x = encode(layers, z)
        skips = [layers.add(skip, f"skip_{i}") for i, skip in enumerate(skips)]
        x = layers.add(repeated(x, count), "mid")
        x = decode(layers, skips, x)
        x = nn.silu(group_norm(x, c.norm_groups, EPSILON, "norm_out"))
        return Conv3x3(self.out_channels, zero_init=True, name="conv_out")(x)
