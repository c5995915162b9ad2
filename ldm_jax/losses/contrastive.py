"""The contrastive loss of images and captions (Radford et al. 2021, figure 3)."""

import jax
import jax.numpy as jnp

from ldm_jax.types import Array


def contrastive(images: Array, captions: Array, scale: Array) -> tuple[Array, Array]:
    """Symmetric cross-entropy of N pairs among all N^2: InfoNCE in both directions.

        logits_ij = scale cos(image_i, caption_j)
        loss = (mean_i -log softmax_j(logits)_ii + mean_j -log softmax_i(logits)_jj) / 2

    Args:
        images, captions: [N, dim] of unit length, pair by pair.
        scale: scalar, one over the temperature.

    Returns:
        (the loss, the logits [N, N] with one row an image).
    """
    logits = scale * images @ captions.T
    of_images, of_captions = (jnp.diagonal(jax.nn.log_softmax(logits, axis)) for axis in (1, 0))
    return -(jnp.mean(of_images) + jnp.mean(of_captions)) / 2.0, logits
