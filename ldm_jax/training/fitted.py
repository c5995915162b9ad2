"""What a config leaves open, filled in by the data: classes, captions, image sizes."""

from dataclasses import fields, replace
from pathlib import Path

from tokenizers import Tokenizer

from ldm_jax import runs
from ldm_jax.config import (
    BERTText,
    CLIPExperiment,
    CLIPText,
    Data,
    Experiment,
    FirstStageExperiment,
    Label,
    Layout,
    Text,
)
from ldm_jax.data import pipeline
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.runs import init_from
from ldm_jax.training.source import Source
from ldm_jax.weights.names import bert


def inherit(first_stage: FirstStageExperiment, data: Data) -> FirstStageExperiment:
    """The first stage with the second stage's data in every field left at its default.

    Where the first stage names images of its own, it shares the image size alone.
    """
    return replace(first_stage, data=inherited(first_stage.data, data))


def inherited(own: Data, data: Data) -> Data:
    """`own` with the fields of `data` where it has defaults; see `inherit`."""
    default = Data()
    alone = ("buckets", "bucket_aspect")  # of the second stage
    names = ("image_size",) if own.path else (field.name for field in fields(Data))
    names = [name for name in names if name not in alone]
    filled = {n: getattr(data, n) for n in names if getattr(own, n) == getattr(default, n)}
    return replace(own, **filled)


def fit_condition(condition, info: pipeline.DataInfo):
    """The condition with what the data says filled in.

    Raises:
        InputError: the data has not what the condition reads, or labels beyond it.
    """
    if isinstance(condition, Label):
        if not info.class_names:
            raise InputError(
                "condition is Label but the data has no classes: expected class folders or a label "
                "field (--data.label); or use condition=Text() or Unconditional()"
            )
        count = fit_classes(condition.num_classes, "condition.num_classes", info)
        return replace(condition, num_classes=count)
    if isinstance(condition, Layout):
        found = len(info.object_names)
        return replace(condition, num_classes=condition.num_classes or found or 1)
    if isinstance(condition, Text) and not info.has_captions:
        raise InputError(
            "condition is Text but the data has no captions: expected metadata.jsonl, a .txt "
            "beside each image, or another field (--data.caption); or use condition=Label()"
        )
    return condition


def find_clip_tokenizer(
    experiment: CLIPExperiment, run: Path, source: Source, start: init_from.Start | None = None
) -> Tokenizer:
    """What cuts captions into byte pairs: of the run, given, published, inherited or learned.

    Raises:
        InputError: no captions, no such file, or more pieces than model.vocab_size.
    """
    model = experiment.model
    if not source.info.has_captions:
        raise InputError(
            "the data has no captions: expected metadata.jsonl, a .txt beside each image, or "
            "another field (--data.caption)"
        )
    places = [run, *([runs.folder(start.run)] if start else [])]
    kept = [place / "tokenizer.json" for place in places]
    kept = [str(path) for path in kept if path.exists()]
    given = model.tokenizer or next(iter(kept), None)
    if given or model.vocab_size == clip.PIECES:
        tokenizer = clip.load(given, model.length, model.weights)
        count = tokenizer.get_vocab_size()
        if count > model.vocab_size:
            raise InputError(
                f"model.vocab_size is {model.vocab_size} and tokenizer '{given}' has {count} "
                f"pieces: expected --model.vocab-size {count}"
            )
        return tokenizer
    captions = pipeline.captions(source.records)
    return clip.learn(captions, model.vocab_size, model.length, model.weights)


def fit_classes(wanted: int | None, name: str, info: pipeline.DataInfo) -> int:
    """How many classes to tell apart: `wanted`, or as many as the data has."""
    found = len(info.class_names)
    wanted = wanted or found
    if found > wanted:
        raise InputError(
            f"label {wanted} of class '{info.class_names[wanted]}' is out of range: the data "
            f"has {found} classes and {name} is {wanted}; set it to {found}"
        )
    return wanted


def reads_alike(start: init_from.Start | None, condition: BERTText) -> bool:
    """Whether a run to start from has a BERT of the same sizes, which is then taken with its words,
    and not that of a file."""
    there = start and start.experiment.condition
    sizes = ("dim", "layers", "num_heads", "ff_dim", "positions", "vocab_size")
    return isinstance(there, BERTText) and all(
        getattr(there, name) == getattr(condition, name) for name in sizes
    )


def find_tokenizer(
    experiment: Experiment, run: Path, source: Source, start: init_from.Start | None = None
) -> Tokenizer | None:
    """What cuts captions into pieces: of the run, given, inherited, or learned from the data."""
    condition = experiment.condition
    if not isinstance(condition, Text):
        return None
    if (run / "tokenizer.json").exists():
        return tokens.load(run / "tokenizer.json", condition.length)
    inherited = start and (start.run / "tokenizer.json").exists()
    if isinstance(condition, CLIPText) and not condition.tokenizer and inherited:
        return runs.load_tokenizer(start.run, start.experiment)
    if isinstance(condition, CLIPText):
        return clip.load(condition.tokenizer, condition.length, condition.weights)
    if isinstance(condition, BERTText):
        if reads_alike(start, condition):
            return runs.load_tokenizer(start.run, start.experiment)
        return bert.load_tokenizer(condition)
    if condition.tokenizer:
        return tokens.load(condition.tokenizer, condition.length)
    if start and isinstance(start.experiment.condition, Text):  # its weights know its pieces alone
        return runs.load_tokenizer(start.run, start.experiment)
    if condition.vocab_size is None:
        raise InputError(
            "condition.vocab_size is None: expected how many word pieces to learn, "
            "or a tokenizer.json as condition.tokenizer"
        )
    captions = pipeline.captions(source.records)
    return tokens.learn(captions, condition.vocab_size, condition.length)
