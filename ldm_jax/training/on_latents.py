"""Training on latents, and on captions, that were encoded once."""

from tokenizers import Tokenizer

from ldm_jax.autoencoders.latents import remembered
from ldm_jax.conditioning.cached import can_be_remembered
from ldm_jax.conditioning.cached import remembered as remembered_captions
from ldm_jax.config import Experiment
from ldm_jax.data import latents
from ldm_jax.diffusion.model import with_conditioner
from ldm_jax.errors import InputError
from ldm_jax.runs.digest import caption_digest, digest
from ldm_jax.training.source import Source
from ldm_jax.types import DiffusionModel, Params


def check_latents(source: Source, experiment: Experiment, model: DiffusionModel) -> None:
    """Raises InputError where a condition is made of the images that latents are of."""
    if source.derive or model.conditioner.encode:
        raise InputError(
            f"data.path '{experiment.data.path}' holds latents: expected images for a condition of "
            f"{type(experiment.condition).__name__}, which is made of them"
        )


def of_latents(source: Source, model: DiffusionModel, params: Params) -> DiffusionModel:
    """The model for training on latents, where the source has them in place of images.

    Raises:
        InputError: another first stage encoded them.
    """
    if isinstance(source.records, latents.Source):
        there, own = source.records.described, digest(params, model.first_stage)
        if there.first_stage != own:
            raise InputError(
                f"the latents in {source.records.name} are of a first stage with digest "
                f"{there.first_stage}: expected {own}, that of first_stage.run; cache them with it"
            )
    return reading_latents(source, model)


def reading_latents(source: Source, model: DiffusionModel) -> DiffusionModel:
    """The model with a first stage and a conditioner that read what the source has."""
    if not isinstance(source.records, latents.Source):
        return model
    described = source.records.described
    model = model._replace(first_stage=remembered(model.first_stage, described.drawn))
    if described.answered and can_be_remembered(model.conditioner):
        conditioner = remembered_captions(model.conditioner, source.records.empty())
        model = with_conditioner(model, conditioner)
    return model


def check_captions(source: Source, params: Params, tokenizer: Tokenizer) -> None:
    """Raises InputError where another conditioner than that of `params` read the captions."""
    there, own = source.records.described.conditioner, caption_digest(params, tokenizer)
    if there != own:
        raise InputError(
            f"the captions in {source.records.name} were read by a conditioner with digest "
            f"{there}: expected {own}, that of the model; cache them with --embed-text and its run"
        )
