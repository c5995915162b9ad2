"""The variational autoencoder as it was first written down (Kingma and Welling 2014, appendix C).

Encoder and decoder have one hidden layer of tanh units. It is a whole generative model, not only a
first stage: trained on its own bound, it draws images from z ~ N(0, I).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.autoencoders.autoencoder import Autoencoder, first_stage, init_both
from ldm_jax.autoencoders.latents import draw
from ldm_jax.errors import InputError
from ldm_jax.losses.kl import kl_to_standard_normal
from ldm_jax.losses.likelihood import BERNOULLI, GAUSSIAN
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Array, FirstStage, Gaussian, Reconstruction


@dataclass(frozen=True)
class MLPAutoencoder(Autoencoder):
    """The first variational autoencoder (Kingma and Welling 2014, appendix C); theirs for MNIST.

    The loss that goes with it is AutoencoderLoss(reconstruction="likelihood", kl_weight=1.0).
    """

    image_size: AtLeast1 = 28  # pixels a side, as data.image_size
    image_channels: Literal[1, 3] = 1  # 1: grey, the mean of red, green and blue
    hidden: AtLeast1 = 500  # units of each hidden layer
    z_channels: AtLeast1 = 20  # values of a latent
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"  # of binary pixels; of 8-bit values

    has_posterior: ClassVar[bool] = True
    has_likelihood: ClassVar[bool] = True

    @property
    def factor(self) -> int:
        return self.image_size

    def check_images(self, size: int, prefix: str) -> None:
        if size != self.image_size:
            raise InputError(
                f"{prefix}data.image_size is {size} and {prefix}model.image_size "
                f"{self.image_size}: expected the same, since an MLP sees images of one size"
            )

    def build(self) -> FirstStage:
        """The latents of an image are [1, 1, z_channels].

        `reconstruct` gives both terms of the bound on log p(x), in nats:
        "negative_log_likelihood", at one draw from the posterior, and "kl".
        """
        side, channels = self.image_size, self.image_channels
        D = side * side * channels
        likelihood = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN}[self.likelihood]
        encoder = MLP(self.hidden, 2 * self.z_channels)
        decoder = MLP(self.hidden, D * likelihood.parameters)

        def posterior(params, images: Array) -> Gaussian:
            moments = encoder.apply({"params": params["encoder"]}, values(images, channels))
            return Gaussian(*jnp.split(moments[:, None, None], 2, axis=-1))

        def predict(params, z: Array) -> Array:
            """z [B, 1, 1, c], unscaled -> what p(x|z) is, [B, D, parameters]."""
            predicted = decoder.apply({"params": params["decoder"]}, z[:, 0, 0])
            return predicted.reshape(len(z), D, likelihood.parameters)

        def image(predicted: Array) -> Array:
            return to_images(likelihood.mean(predicted), side, channels)

        def reconstruct(params, images: Array, keys: Array) -> Reconstruction:
            draw_keys, likelihood_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
            q = posterior(params, images)
            z = draw(q, draw_keys)
            predicted = predict(params, z)
            pixels = values(images, channels)
            nll = -likelihood.log_probability(pixels, predicted, likelihood_keys)
            terms = {"negative_log_likelihood": nll, "kl": kl_to_standard_normal(q)}
            return Reconstruction(image(predicted), terms, z)

        return first_stage(
            self,
            init_both(encoder, decoder, (1, D), (1, self.z_channels)),
            posterior,
            lambda params, z: image(predict(params, z)),
            reconstruct,
            last_layer=("decoder", "out", "kernel"),
        )


class MLP(nn.Module):
    """y = W_2 tanh(W_1 x + b_1) + b_2."""

    hidden: int
    outputs: int

    @nn.compact
    def __call__(self, x):
        """x [B, I] -> [B, outputs]."""
        return nn.Dense(self.outputs, name="out")(jnp.tanh(nn.Dense(self.hidden, name="in")(x)))


def values(images: Array, channels: int) -> Array:
    """Images [B, H, W, 3] in [-1, 1] -> [B, D] in [0, 1]; of one channel, the mean of three."""
    x = (images + 1.0) / 2.0
    if channels == 1:
        x = jnp.mean(x, axis=-1)
    return x.reshape(len(x), -1)


def to_images(x: Array, side: int, channels: int) -> Array:
    """The inverse of `values`; grey is the same in all three channels."""
    x = x.reshape(len(x), side, side, channels)
    return jnp.broadcast_to(2.0 * x - 1.0, (len(x), side, side, 3))
