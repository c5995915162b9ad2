"""From a config to functions: the only place that asks which kind a config is."""

from collections.abc import Callable

from tokenizers import Tokenizer

from ldm_jax import config as c
from ldm_jax.backbones.unet import unet
from ldm_jax.conditioning.bert import BERT, bert_text
from ldm_jax.conditioning.clip_image import clip_image
from ldm_jax.conditioning.compose import together
from ldm_jax.conditioning.depth import depth
from ldm_jax.conditioning.inpainting import inpainting
from ldm_jax.conditioning.label import label
from ldm_jax.conditioning.layout import layout
from ldm_jax.conditioning.low_resolution import low_resolution
from ldm_jax.conditioning.retrieval import retrieval
from ldm_jax.conditioning.semantic_map import semantic_map
from ldm_jax.conditioning.text import TextTransformer, text
from ldm_jax.conditioning.unconditional import unconditional
from ldm_jax.data import derived
from ldm_jax.diffusion.model import diffusion_model
from ldm_jax.encoders.clip.text import TextTower
from ldm_jax.encoders.clip.vision import Architecture, VisionTower
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.types import (
    Conditioner,
    DiffusionModel,
    FirstStage,
    Params,
)
from ldm_jax.weights.names import bert as bert_names
from ldm_jax.weights.names import clip as clip_names
from ldm_jax.weights.names import condition
from ldm_jax.weights.names import model as model_names
from ldm_jax.weights.names import text as text_names
from ldm_jax.weights.table import under


def build_conditioner(
    config: c.Condition, tokenizer: Tokenizer | None, first_stage: FirstStage
) -> Conditioner:
    """The conditioner of a config; captions need their tokenizer."""
    match config:
        case c.Unconditional():
            return unconditional()
        case c.Label():
            return label(config.num_classes, config.dim, config.slot, config.null)
        case c.CLIPText():
            empty = tokens.encode(tokenizer, "")
            return text(_text_tower(config), empty)._replace(trained=False)
        case c.BERTText():
            empty, filling = tokens.encode(tokenizer, ""), tokens.padding(tokenizer)
            return bert_text(_bert(config), empty, filling, config.pooled)
        case c.Text():
            transformer = _transformer(config, tokenizer.get_vocab_size())
            return text(transformer, tokens.encode(tokenizer, ""), config.pooled)
        case c.Layout():
            return layout(_transformer(config, config.vocab_size), config.max_objects)
        case c.SemanticMap():
            return semantic_map(config.num_classes, config.stages, config.out_channels)
        case c.LowResolution():
            return low_resolution(with_noise=config.max_noise is not None)
        case c.Inpainting():
            return inpainting(first_stage, config.form)
        case c.Depth():
            return depth()
        case c.CLIPImage():
            return clip_image(_vision_tower(config), with_noise=isinstance(config, c.UnCLIP))
        case c.Retrieval():
            return retrieval(config.dim, config.neighbours)


def _transformer(config: c.Text | c.Layout, vocab_size: int) -> TextTransformer:
    return TextTransformer(
        vocab_size=vocab_size,
        dim=config.dim,
        layers=config.layers,
        heads=config.num_heads,
        head_dim=config.head_dim,
        length=config.length,
        dtype=config.compute,
    )


def _text_tower(config: c.CLIPText) -> TextTower:
    return TextTower(
        vocab_size=config.vocab_size,
        dim=config.dim,
        layers=config.layers,
        heads=config.num_heads,
        length=config.length,
        weights=config.weights,
    )


def _bert(config: c.BERTText) -> BERT:
    return BERT(
        vocab_size=config.vocab_size,
        dim=config.dim,
        layers=config.layers,
        heads=config.num_heads,
        ff_dim=config.ff_dim,
        positions=config.positions,
        dtype=config.compute,
    )


def build_published(config: c.Condition) -> Params | None:
    """Weights of a conditioner that a config finds in a file; None where it knows of none.

    Raises:
        InputError: there is no such file, or it has other weights.
    """
    match config:
        case c.BERTText():
            return bert_names.load(config)
    return None


def _vision_tower(config: c.CLIPImage) -> VisionTower:
    return VisionTower(build_architecture(config), config.weights)


def build_architecture(config: c.CLIPImage) -> Architecture:
    """The tower of images of a config."""
    sizes = config.channels, config.layers, config.num_heads, config.dim
    return Architecture(*sizes, config.patch, config.size)


def build_derive(config: c.Condition | None, factor: int = 1) -> dict[str, Callable]:
    """What of a condition is made from an example when it is read, see `data.pipeline.batches`.

    Args:
        factor: pixels per latent in each direction.
    """
    match config:
        case c.Layout():
            return {"boxes": derived.boxes(config.max_objects, config.num_classes)}
        case c.SemanticMap():
            return {"segmentation": derived.segmentation(config.num_classes)}
        case c.LowResolution():
            small = {"low_resolution": derived.low_resolution(config.factor, config.degradation)}
            return small | derived.noise(config.factor, config.max_noise)
        case c.Inpainting():
            return {"mask": derived.mask()}
        case c.Depth():
            return {"depth": derived.depth(factor)}
        case c.Retrieval():
            return {"neighbours": derived.neighbours(config)}
        case c.UnCLIP():
            own = derived.embedding_noise(config.dim, config.max_noise)
            return {"picture": derived.picture(config.size), **own}
        case c.CLIPImage():
            return {"picture": derived.picture(config.size)}
    return {}


def build_condition_names(
    config: c.Condition, channels: int, beside: c.Beside | None = None
) -> condition.ConditionNames:
    """What the original calls the weights of a conditioner, beside latents of so many channels.

    Args:
        beside: a second condition.
    """
    if beside:
        own, told = build_condition_names(config, channels), build_condition_names(beside, channels)
        return own._replace(
            table=[*own.table, *under(told.table, "beside/")],
            concat=told.concat,
            unused=(*own.unused, *told.unused),
        )
    match config:
        case c.Unconditional():
            return condition.ConditionNames()
        case c.Label():
            return condition.label(config)
        case c.CLIPText():
            return condition.conditioner(clip_names.text_tower(config), tokens=config.dim)
        case c.BERTText():
            return condition.conditioner(bert_names.bert(config), tokens=config.dim)
        case c.Text() | c.Layout():
            return condition.conditioner(text_names.text_transformer(config), tokens=config.dim)
        case c.SemanticMap():
            return condition.semantic_map(config)
        case c.LowResolution():
            return condition.ConditionNames(concat=3)
        case c.Inpainting():
            copies = config.form == "latent_diffusion"
            return condition.ConditionNames(concat=channels + 1, copies=copies)
        case c.Depth():
            return condition.ConditionNames(concat=1)
        case c.Retrieval():
            return condition.ConditionNames(tokens=config.dim)
        case c.UnCLIP():
            return condition.unclip(
                clip_names.openclip_vision(build_architecture(config)), config.dim
            )
        case c.CLIPImage():
            return condition.clip_image(
                clip_names.openclip_vision(build_architecture(config)), config.dim
            )


def build_model_names(experiment: c.Experiment) -> model_names.Names:
    """What the original calls the weights of a whole model."""
    first_stage = experiment.first_stage.model.original_names()
    channels = experiment.first_stage.model.build().channels
    answers = 2 if experiment.diffusion.learned_variance else 1
    told = build_condition_names(experiment.condition, channels, experiment.beside)
    return model_names.names(experiment.model, channels, answers * channels, first_stage, told)


def build_model(experiment: c.Experiment, tokenizer: Tokenizer | None) -> DiffusionModel:
    """The whole model of an experiment."""
    first_stage = experiment.first_stage.model.build()
    conditioner = build_conditioner(experiment.condition, tokenizer, first_stage)
    if experiment.beside:
        beside = build_conditioner(experiment.beside, None, first_stage)
        conditioner = together(conditioner, beside)
    outputs = 2 if experiment.diffusion.learned_variance else 1
    c_z = first_stage.channels
    return diffusion_model(
        unet(experiment.model, c_z, outputs * c_z),
        conditioner,
        first_stage,
        experiment.diffusion.build_process(),
        experiment.diffusion.build_prediction(),
    )
