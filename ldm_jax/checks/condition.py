"""Whether a condition can be told, and network and condition meet."""

import math

from ldm_jax import config as c
from ldm_jax.conditioning.clip_image import LEVELS as EMBEDDING_LEVELS
from ldm_jax.conditioning.low_resolution import LEVELS
from ldm_jax.errors import InputError


def check_condition(experiment: c.Experiment) -> None:
    """Raises InputError where a condition cannot be told so, or does not fit the latents."""
    condition, beside = experiment.condition, experiment.beside
    factor = experiment.first_stage.model.factor
    if beside and not isinstance(condition, c.Text):
        raise InputError(
            f"beside is {type(beside).__name__} and condition {type(condition).__name__}: expected "
            "beside=None, or condition=Text() or CLIPText(), since a second condition goes with "
            "captions alone"
        )
    if isinstance(beside, c.UnCLIP) and not isinstance(condition, c.CLIPText):
        raise InputError(
            f"beside is UnCLIP and condition {type(condition).__name__}: expected CLIPText, since "
            "neither tower of CLIP is trained"
        )
    if beside and beside.drop:
        raise InputError(
            f"beside.drop is {beside.drop}: expected 0, since condition.drop hides the caption and "
            "guidance compares with no caption alone"
        )
    for name, small in (("condition", condition), ("beside", beside)):
        if isinstance(small, c.LowResolution) and small.factor != factor:
            raise InputError(
                f"{name}.factor is {small.factor}: expected {factor}, the factor of the first "
                "stage, since the small image stands beside its latents"
            )
    if isinstance(condition, c.SemanticMap) and 2**condition.stages != factor:
        raise InputError(
            f"condition.stages is {condition.stages}: expected {math.log2(factor):g}, which halves "
            f"a map as often as the first stage, of factor {factor}, halves images"
        )
    if isinstance(condition, c.Layout):
        rows = math.isqrt(condition.vocab_size)
        if rows**2 == condition.vocab_size or rows < 2:
            raise InputError(
                f"condition.vocab_size is {condition.vocab_size}: expected more than 4 and no "
                "square, since its last token, which means none, would be the last place, too"
            )
        if condition.num_classes and condition.num_classes >= condition.vocab_size:
            raise InputError(
                f"condition.num_classes is {condition.num_classes}: expected less than "
                f"condition.vocab_size, which is {condition.vocab_size}"
            )


def check_slots(experiment: c.Experiment) -> None:
    """Raises InputError where network and condition do not meet."""
    unet, condition = experiment.model, experiment.condition
    for factor in set(unet.cross_only_factors) - set(unet.attention_factors):
        raise InputError(
            f"model.cross_only_factors has {factor}: expected some of model.attention_factors, "
            f"which are {', '.join(map(str, unet.attention_factors)) or 'none'}"
        )
    if isinstance(condition, c.CLIPText):
        _check_clip(condition)
    if isinstance(condition, c.BERTText):
        _check_bert(condition)
    pictured = [x for x in (condition, experiment.beside) if isinstance(x, c.CLIPImage)]
    for tower in pictured:
        _check_tower(tower)
    embedding = any(isinstance(tower, c.UnCLIP) for tower in pictured)
    by_label = isinstance(condition, c.Label) and condition.slot == "vector"
    pooled = isinstance(condition, c.Text) and condition.pooled
    width = unet.vector_dim or 4 * unet.channels
    if (by_label or pooled) and condition.dim != width:
        raise InputError(
            f"condition.dim is {condition.dim}: expected {width}, since its vector is "
            + ("as wide as model.vector_dim" if unet.vector_dim else "added to the step's")
        )
    if embedding and (unet.vector_dim != 2 * pictured[-1].dim or pooled):
        raise InputError(
            f"model.vector_dim is {unet.vector_dim}: expected {2 * pictured[-1].dim}, an embedding "
            "and the level of its noise, and no other vector"
        )
    if unet.vector_dim and not (by_label or pooled or embedding):
        raise InputError(
            f"model.vector_dim is {unet.vector_dim}: expected None, since the condition has no "
            "vector; use condition=Label(slot='vector') or Text(pooled=True), or beside=UnCLIP()"
        )
    _check_entries(experiment)
    if isinstance(condition, c.Label) and not condition.null and condition.drop:
        raise InputError(
            f"condition.drop is {condition.drop}: expected 0 where condition.null is False, since "
            "there is nothing to show in place of a label"
        )
    guidance = experiment.sampling.guidance
    if isinstance(condition, c.Label) and not condition.null and guidance != 1.0:
        raise InputError(
            f"sampling.guidance is {guidance}: expected 1 where condition.null is False, since "
            "guidance compares with no label"
        )


def _check_entries(experiment: c.Experiment) -> None:
    """Raises InputError unless the network has vectors for the levels of noise that it is told."""
    unet = experiment.model
    both = (experiment.condition, experiment.beside)
    told = (x.max_noise for x in both if isinstance(x, c.LowResolution))
    levels = next((n for n in told if n is not None), None)
    if (unet.vector_entries is None) != (levels is None) or (levels or 0) > LEVELS:
        raise InputError(
            f"model.vector_entries is {unet.vector_entries} and max_noise of the low-resolution "
            f"image {levels}: expected both or neither, the latter at most {LEVELS}, since levels "
            "of noise are told as vectors"
        )
    if levels is not None and unet.vector_entries < levels:
        raise InputError(
            f"model.vector_entries is {unet.vector_entries}: expected at least {levels}, the "
            "levels of noise"
        )
    if levels is not None and (unet.vector_dim or getattr(experiment.condition, "pooled", False)):
        raise InputError(
            "model.vector_entries and another vector: expected model.vector_dim None and "
            "condition.pooled False, since the network has one"
        )


def _check_clip(condition: c.CLIPText) -> None:
    """Raises InputError for a tower that CLIP has not."""
    _check_width(condition)
    if condition.pooled:
        raise InputError("condition.pooled is True: expected False, CLIP's tokens have no mean")
    if condition.vocab_size is None:
        raise InputError("condition.vocab_size is None: expected a number, CLIP's is 49408")


def _check_bert(condition: c.BERTText) -> None:
    """Raises InputError for an encoder that BERT has not."""
    _check_width(condition)
    if condition.vocab_size is None:
        raise InputError("condition.vocab_size is None: expected a number, BERT's is 30522")
    if condition.length > condition.positions:
        raise InputError(
            f"condition.length is {condition.length}: expected at most {condition.positions}, as "
            "condition.positions, of which its weights know"
        )


def _check_width(condition: c.Text) -> None:
    """Raises InputError unless the heads of a tower share its width."""
    if condition.num_heads * condition.head_dim != condition.dim:
        raise InputError(
            f"condition.num_heads is {condition.num_heads} and condition.head_dim "
            f"{condition.head_dim}: expected their product to be condition.dim, {condition.dim}"
        )


def _check_tower(tower: c.CLIPImage) -> None:
    """Raises InputError for a tower of images that cannot be."""
    for name, of, whole in (
        ("num_heads", "channels", tower.channels),
        ("patch", "size", tower.size),
    ):
        if whole % getattr(tower, name):
            raise InputError(
                f"{name} of {type(tower).__name__} is {getattr(tower, name)}: expected a divisor "
                f"of its {of}, {whole}"
            )
    if isinstance(tower, c.UnCLIP) and (tower.dim % 2 or tower.max_noise > EMBEDDING_LEVELS):
        raise InputError(
            f"dim of UnCLIP is {tower.dim} and max_noise {tower.max_noise}: expected an even "
            f"number and at most {EMBEDDING_LEVELS} levels"
        )
