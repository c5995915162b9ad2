"""The KL autoencoder: the first stage of latent diffusion (Rombach et al. 2022, section 3.1)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.autoencoders.latents import scaled, unit, unscaled
from ldm_jax.config import KLAutoencoder
from ldm_jax.nn.attention import SpatialSelfAttention
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.resnet import Downsample, ResBlock, Upsample, conv3x3
from ldm_jax.types import Array, FirstStage, Gaussian

EPSILON = 1e-6  # of every normalisation in the original autoencoder


def _res(config: KLAutoencoder, channels: int, name: str) -> ResBlock:
    return ResBlock(channels, config.norm_groups, EPSILON, name=name)


def _attention(config: KLAutoencoder, name: str) -> SpatialSelfAttention:
    return SpatialSelfAttention(1, config.norm_groups, EPSILON, zero_init=False, name=name)


def _middle(config: KLAutoencoder, x):
    x = _res(config, x.shape[-1], "mid_res_0")(x)
    if config.mid_attention:
        x = _attention(config, "mid_attn")(x)
    return _res(config, x.shape[-1], "mid_res_1")(x)


class Encoder(nn.Module):
    """Images to the parameters of the posterior."""

    config: KLAutoencoder

    @nn.compact
    def __call__(self, x):
        """x [B, H, W, 3] -> [B, H / f, W / f, 2 z]: mean and log-variance side by side."""
        c = self.config
        h = conv3x3(c.channels, "conv_in")(x)
        last = len(c.channel_mults) - 1
        for level, mult in enumerate(c.channel_mults):
            for i in range(c.num_res_blocks):
                name = f"down_{level}_res_{i}"
                h = _res(c, mult * c.channels, name)(h)
                if 2**level in c.attention_factors:
                    name = f"down_{level}_attn_{i}"
                    h = _attention(c, name)(h)
            if level < last:
                h = Downsample(((0, 1), (0, 1)), name=f"down_{level}_downsample")(h)
        h = _middle(c, h)
        h = conv3x3(2 * c.z_channels, "conv_out")(
            nn.silu(group_norm(h, c.norm_groups, EPSILON, "norm_out"))
        )
        return nn.Dense(2 * c.z_channels, name="quant_conv")(h)


class Decoder(nn.Module):
    """Latents to images."""

    config: KLAutoencoder

    @nn.compact
    def __call__(self, z):
        """z [B, h, w, z_channels], unscaled -> [B, f h, f w, 3]."""
        c = self.config
        h = nn.Dense(c.z_channels, name="post_quant_conv")(z)
        h = conv3x3(c.channels * c.channel_mults[-1], "conv_in")(h)
        h = _middle(c, h)
        for level, mult in reversed(list(enumerate(c.channel_mults))):
            for i in range(c.num_res_blocks + 1):
                name = f"up_{level}_res_{i}"
                h = _res(c, mult * c.channels, name)(h)
                if 2**level in c.attention_factors:
                    name = f"up_{level}_attn_{i}"
                    h = _attention(c, name)(h)
            if level > 0:
                h = Upsample(name=f"up_{level}_upsample")(h)
        return conv3x3(3, "conv_out")(nn.silu(group_norm(h, c.norm_groups, EPSILON, "norm_out")))


def kl_autoencoder(config: KLAutoencoder) -> FirstStage:
    """The first stage that `config` describes.

    Its params are {"encoder", "decoder"} and those of latents.py, measured before the second stage.
    """
    encoder, decoder = Encoder(config), Decoder(config)
    factor = 2 ** (len(config.channel_mults) - 1)

    def init(key: Array):
        encoder_key, decoder_key = jax.random.split(key)
        image = jnp.zeros((1, factor, factor, 3))
        latent = jnp.zeros((1, 1, 1, config.z_channels))
        return {
            "encoder": encoder.init(encoder_key, image)["params"],
            "decoder": decoder.init(decoder_key, latent)["params"],
            **unit(config.z_channels),
        }

    def posterior(params, images: Array) -> Gaussian:
        moments = encoder.apply({"params": params["encoder"]}, images)
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        return Gaussian(mean, jnp.clip(log_variance, -30.0, 20.0))  # the original's range

    def encode(params, images: Array, keys: Array) -> Array:
        return scaled(params, draw(posterior(params, images), keys))

    def decode(params, latents: Array) -> Array:
        return decoder.apply({"params": params["decoder"]}, unscaled(params, latents))

    return FirstStage(init, posterior, encode, decode, factor, config.z_channels)


def draw(q: Gaussian, keys: Array) -> Array:
    """One draw an example from q, by reparametrisation (Kingma and Welling 2014, section 2.4).

    Args:
        keys: [B], one key an example.
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, q.mean.shape[1:]))(keys)
    return q.mean + jnp.exp(0.5 * q.log_variance) * noise
