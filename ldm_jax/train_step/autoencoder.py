"""The objective of the first stage (Rombach et al. 2022, eq. 25).

The autoencoder and the discriminator learn from one reconstruction: the decoder runs once forward
and once backward. The weight of the discriminator follows from gradients at the decoder's last
layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp

from ldm_jax.losses.lpips import lpips
from ldm_jax.losses.reconstruction import l1, l2, negative_log_likelihood
from ldm_jax.settings import NotNegative
from ldm_jax.train_step.adversary import Adversary, init_adversary, play, weight_at
from ldm_jax.train_step.codebook import Codebook, init_statistics, learn_codes
from ldm_jax.train_step.state import Objective, Outcome, each_part, example_keys, unchanged
from ldm_jax.types import Array, FirstStage, Params, Perceptual


@dataclass(frozen=True)
class AutoencoderLoss:
    """Weights of the terms that train a first stage.

    Distance to the image: (reconstruction + perceptual) / exp(s) + s for each number of the image,
    with log-variance s, summed over the image or averaged.
    """

    reconstruction: Literal["l1", "l2", "likelihood"] = "l1"  # likelihood: an MLPAutoencoder's own
    reduction: Literal["sum", "mean"] = "sum"  # the original's KL and VQ stages, in this order
    perceptual_weight: NotNegative = 0.0  # of LPIPS; 0: none
    # the network of LPIPS
    perceptual: Literal["vgg", "alex", "squeeze", "vgg_shift_tolerant", "alex_shift_tolerant"] = (
        "vgg"
    )
    perceptual_weights: str | None = None  # file or folder; None: found or fetched
    learn_log_variance: bool = False  # the original keeps s = 0: it is in no optimizer there
    kl_weight: NotNegative = 1e-6  # of the KL to a standard Gaussian
    codebook: Codebook = field(default_factory=Codebook)
    adversary: Adversary = field(default_factory=Adversary)

    def build_perceptual(self) -> Perceptual:
        """The perceptual distance."""
        return lpips(self.perceptual)

    def build(self, first_stage: FirstStage, parts: int = 1) -> Objective:
        """What trains a first stage, on batches in `parts` parts."""
        perceptual = self.build_perceptual() if self.perceptual_weight else None
        return autoencoder_objective(first_stage, self, perceptual, parts)


def init_helpers(
    first_stage: FirstStage, config: AutoencoderLoss, key: Array, params: Params
) -> Params:
    """The parts of params that only training needs, but for the perceptual network's weights.

    {"log_variance"} where it is learned, those of the adversary, and those that count codes.

    Args:
        params: of the first stage.
    """
    helpers = init_adversary(config.adversary, key)
    if config.learn_log_variance:
        helpers["log_variance"] = jnp.zeros(())
    if "quantizer" in first_stage.parts:
        helpers |= init_statistics(config.codebook, params)
    return helpers


def autoencoder_objective(
    first_stage: FirstStage,
    config: AutoencoderLoss,
    perceptual: Perceptual | None = None,
    parts: int = 1,
) -> Objective:
    """The objective over params = the first stage's, those of `init_helpers`, and "perceptual".

    Args:
        perceptual: the distance whose weights are params["perceptual"]; needed where
            `config.perceptual_weight` is not 0.
        parts: into how many a batch is cut, one after the other in memory. That holds for the first
            stage and the perceptual network, whose outputs are of one example each. The input of
            the discriminator, which normalises by statistics, is the whole batch.
    """
    by_gradient = config.codebook.update == "gradient"
    stage = tuple(n for n in first_stage.parts if by_gradient or n != "quantizer")
    trained = stage
    if config.learn_log_variance:
        trained += ("log_variance",)
    if config.adversary.weight:
        trained += ("discriminator",)
    outcome = _outcome(first_stage, config, stage, _distance(config, perceptual, parts), parts)
    return Objective(trained, stage, outcome, helpers=("quantizer", "statistics", "lecam"))


def _distance(config: AutoencoderLoss, perceptual: Perceptual | None, parts: int) -> Callable:
    """(params, image, fake, log_variance) -> the mean negative log-likelihood, and its terms."""

    def of_part(params, image, fake, log_variance):
        error, terms, features = jnp.zeros(len(image)), {}, 0.0
        if config.reconstruction != "likelihood":
            of_pixels = {"l1": l1, "l2": l2}[config.reconstruction]
            error = terms["reconstruction"] = of_pixels(image, fake)
        if config.perceptual_weight:
            features = terms["perceptual"] = perceptual.distance(params["perceptual"], fake, image)
        features = config.perceptual_weight * features
        size, reduction = image[0].size, config.reduction
        nll = negative_log_likelihood(error, features, log_variance, size, reduction)
        mse = jnp.mean(jnp.square((image - fake) / 2.0), axis=(1, 2, 3))
        return nll, {**terms, "psnr": -10.0 * jnp.log10(jnp.maximum(mse, 1e-10))}

    def distance(params, image, fake, log_variance):
        found = each_part(lambda pair: of_part(params, *pair, log_variance), (image, fake), parts)
        return jax.tree.map(jnp.mean, found)

    return distance


def _term_weights(config: AutoencoderLoss) -> dict[str, float]:
    """The weights of what a first stage's own `reconstruct` returns."""
    return {
        "negative_log_likelihood": float(config.reconstruction == "likelihood"),
        "kl": config.kl_weight,
        "commitment": config.codebook.commitment,
        "codebook": config.codebook.weight if config.codebook.update == "gradient" else 0.0,
    }


def _outcome(
    first_stage: FirstStage,
    config: AutoencoderLoss,
    stage: tuple[str, ...],
    distance: Callable,
    parts: int,
) -> Callable:
    """The `outcome` of the objective, `stage` the parts of the first stage that gradients train."""
    weights = _term_weights(config)

    def outcome(params, batch, key, step, average):
        image = batch["image"]

        def reconstruct(chosen):
            def of_part(part):
                keys = example_keys(key, part)
                return first_stage.reconstruct({**params, **chosen}, part["image"], keys)

            made = each_part(of_part, batch, parts)
            return (made.image, made.terms), made

        def at_last_layer(by_fake):  # the compiler drops the rest of this backward pass
            (gradient,) = backward((by_fake, jax.tree.map(jnp.zeros_like, terms)))
            for name in first_stage.last_layer:
                gradient = gradient[name]
            return average(gradient)

        chosen = {name: params[name] for name in stage}
        (fake, terms), backward, made = jax.vjp(reconstruct, chosen, has_aux=True)
        log_variance = params.get("log_variance", jnp.zeros(()))
        compared = jax.value_and_grad(distance, (2, 3), has_aux=True)
        (loss, metrics), (by_fake, by_log_variance) = compared(params, image, fake, log_variance)
        gradients, changes, change_codes = {}, {}, unchanged
        if config.learn_log_variance:
            gradients["log_variance"], metrics["log_variance"] = by_log_variance, log_variance
        if config.adversary.weight:
            played = play(config.adversary, params, image, fake, step, average)
            weight = weight_at(config.adversary, step, at_last_layer, by_fake, played.by_fake)
            by_fake += weight * played.by_fake
            loss += weight * played.metrics["generator"]
            metrics |= {**played.metrics, "adversary_weight": weight}
            gradients["discriminator"], changes = played.gradient, played.changes
        by_terms = {name: jnp.full_like(x, weights[name] / len(x)) for name, x in terms.items()}
        gradients |= backward((by_fake, by_terms))[0]
        for name, term in terms.items():
            metrics[name] = jnp.mean(term)
            loss += weights[name] * metrics[name]
        gradients, metrics = average((gradients, {**metrics, "loss": loss}))
        if made.codes is not None:
            codes = made.latents, made.codes, batch["position"]
            found, change_codes = learn_codes(config.codebook, params, *codes, key, average)
            metrics |= found

        def change(parts):
            return change_codes(parts | {n: x for n, x in changes.items() if n in parts})

        return Outcome(gradients, metrics, change)

    return outcome
