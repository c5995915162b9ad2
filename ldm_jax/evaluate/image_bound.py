"""The bound of a variational autoencoder on the log-likelihood of images."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.types import Array, FirstStage, Params


def negative_bound(
    first_stage: FirstStage,
    params: Params,
    images: Iterable[np.ndarray],
    key: Array,
    draws: int = 1,
) -> dict[str, np.ndarray]:
    """-L(x) = E_q[-log p(x|z)] + KL(q || p) of each image, and its terms, in nats, each [N].

    Args:
        images: batches [B, H, W, 3]; each batch size is compiled once.
        draws: samples of the posterior, for the expectation.
    """

    @jax.jit
    def terms(params, images, key):
        def one(key):
            return first_stage.reconstruct(params, images, jax.random.split(key, len(images))).terms

        found = jax.lax.map(one, jax.random.split(key, draws))
        return {name: jnp.mean(term, axis=0) for name, term in found.items()}

    rows = [terms(params, batch, jax.random.fold_in(key, i)) for i, batch in enumerate(images)]
    names = ("negative_log_likelihood", "kl")
    found = {name: np.concatenate([np.asarray(row[name]) for row in rows]) for name in names}
    return {"negative_bound": sum(found.values()), **found}
