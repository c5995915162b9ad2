"""DreamBooth's prior preservation (Ruiz et al. 2023, section 3.2).

Of images x of a subject, with a prompt c that names it, and of x_pr that the model itself drew of
the subject's class, with the class's prompt c_pr (eq. 2, w_t the loss's own weights):

    L = E w_t |x_theta(z_t, c) - x|^2 + weight * E w_t' |x_theta(z_t', c_pr) - x_pr|^2

Both are in one batch, half and half, and each has its own times, noise and w_t.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from ldm_jax.settings import AtLeast1, NotNegative
from ldm_jax.types import Array, Metrics

ENTRY = "prior"  # of a batch: bool [B], which images are of the class


@dataclass(frozen=True)
class Prior:
    """Images of a subject's class, which training on the subject preserves."""

    prompt: str = ""  # of the class, such as "a dog"; "": there are no images of a class
    # of these images; missing ones are drawn by the model from which training starts, those that
    # there are stay; None: RUN/class_images
    path: str | None = None
    num: AtLeast1 = 200  # images
    weight: NotNegative = 1.0  # of their loss

    def __bool__(self) -> bool:
        """Whether there are such images."""
        return bool(self.prompt)


def weights(prior: Array, weight: float) -> Array:
    """By which losses [B] are multiplied, so that their mean over a batch, half of which is of the
    class, is the loss; prior [B] bool."""
    return 2.0 * jnp.where(prior, weight, 1.0)


def metrics(prior: Array, losses: Array) -> Metrics:
    """The mean of losses [B] over the images of the subject, and over those of the class."""
    return {
        "subject": jnp.mean(2.0 * jnp.where(prior, 0.0, losses)),
        "class": jnp.mean(2.0 * jnp.where(prior, losses, 0.0)),
    }
