"""Whether a first stage, its images and its loss go together."""

from ldm_jax import config as c
from ldm_jax.checks.shared import check_averages, check_squares
from ldm_jax.errors import InputError
from ldm_jax.losses.lpips import NETWORKS
from ldm_jax.losses.patchgan import smallest


def check_first_stage(experiment: c.FirstStageExperiment, prefix: str = "") -> None:
    """Raises InputError where the parts of the config cannot go together."""
    model, size = experiment.model, experiment.data.image_size
    check_averages(experiment, prefix)
    if size is None:
        raise InputError(f"{prefix}data.image_size is not set: expected a number of pixels")
    check_squares(experiment.data, f"{prefix}data.", "a first stage")
    model.check_images(size, prefix)
    model.check(f"{prefix}model.")
    _check_loss(experiment, prefix)


def _check_loss(experiment: c.FirstStageExperiment, prefix: str) -> None:
    """Raises InputError for a setting that this kind of first stage has no use for."""
    loss, size = experiment.loss, experiment.data.image_size
    model, kind = experiment.model, type(experiment.model).__name__
    if not model.has_codebook and loss.codebook != c.Codebook():
        raise InputError(
            f"{prefix}loss.codebook is {loss.codebook}: expected its default, since a {kind} has "
            "no codebook; use model=VQAutoencoder()"
        )
    if not model.has_posterior and loss.kl_weight != c.AutoencoderLoss().kl_weight:
        raise InputError(
            f"{prefix}loss.kl_weight is {loss.kl_weight}: expected its default, since a "
            f"{kind} has no posterior" + "; see loss.codebook" * (model.has_codebook)
        )
    if loss.perceptual_weight and size < NETWORKS[loss.perceptual].smallest:
        raise InputError(
            f"{prefix}data.image_size is {size}: expected at least "
            f"{NETWORKS[loss.perceptual].smallest}, which {prefix}loss.perceptual "
            f"{loss.perceptual} can see; or set {prefix}loss.perceptual_weight to 0"
        )
    if loss.adversary.weight and size < smallest(loss.adversary.layers):
        raise InputError(
            f"{prefix}data.image_size is {size}: expected at least "
            f"{smallest(loss.adversary.layers)}, one patch of a discriminator of "
            f"{loss.adversary.layers} layers; lower {prefix}loss.adversary.layers"
        )
    if not model.has_likelihood and loss.reconstruction == "likelihood":
        raise InputError(
            f"{prefix}loss.reconstruction is likelihood: expected l1 or l2, since a {kind} has no "
            "likelihood of its own; use model=MLPAutoencoder()"
        )
    if loss.reconstruction == "likelihood" and loss.learn_log_variance:
        raise InputError(
            f"{prefix}loss.learn_log_variance is True: expected False, since with "
            f"{prefix}loss.reconstruction likelihood nothing would keep it from falling"
        )
