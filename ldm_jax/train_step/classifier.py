"""The objective of a classifier that guides (Dhariwal and Nichol 2021, section 4.1)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.guidance.classifier import classify
from ldm_jax.diffusion.losses import training_times
from ldm_jax.diffusion.process import add_noise
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.train_step.state import Objective, minimise
from ldm_jax.types import LatentClassifier


def classifier_objective(model: LatentClassifier, parts: int = 1) -> Objective:
    """What trains a classifier, and nothing else.

    Args:
        parts: into how many a batch is cut, one after the other in memory.
    """
    return minimise(classifier_loss(model), ("classifier",), parts)


def classifier_loss(model: LatentClassifier) -> Callable:
    """Cross-entropy of the labels of latents, noised to times that are drawn uniformly.

    Returns:
        (params, batch, keys [B]) -> (scalar loss, metrics).
    """
    process = model.process

    def loss(params, batch, keys):
        latent_keys, time_keys, noise_keys = jnp.moveaxis(
            jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
        )
        z0 = model.first_stage.encode(params["first_stage"], batch["image"], latent_keys)
        t = training_times.uniform(time_keys, process)
        if process.discrete:
            t = training_times.whole(t, process)
        z = add_noise(process, jax.lax.stop_gradient(z0), normal_like(noise_keys, z0), t)

        def network(z, time):
            return model.network(params["classifier"], z, time)

        logits, labels = classify(network, process, z, t), batch["label"]
        entropy = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        right = jnp.argmax(logits, axis=1) == labels
        total = jnp.mean(entropy)
        return total, {"loss": total, "accuracy": jnp.mean(right.astype(jnp.float32))}

    return loss
