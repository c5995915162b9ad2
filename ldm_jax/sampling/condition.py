"""What a request tells the conditioner."""

from collections.abc import Sequence

import numpy as np

from ldm_jax import runs
from ldm_jax.config import Label, Text
from ldm_jax.errors import InputError
from ldm_jax.sampling.captions import captions
from ldm_jax.sampling.frames import legs, turns
from ldm_jax.sampling.wanted import Request
from ldm_jax.types import Batch


def kind_of(trained: runs.Trained) -> str:
    kinds = {
        "Text": "captions",
        "CLIPText": "captions",
        "BERTText": "captions",
        "Label": "class labels",
        "Unconditional": "no condition",
        "Layout": "boxes",
        "SemanticMap": "class maps",
        "LowResolution": "low-resolution images",
        "Inpainting": "masked images",
        "Depth": "depth maps",
        "Retrieval": "neighbours",
        "CLIPImage": "images",
        "UnCLIP": "images",
    }
    return kinds[type(trained.experiment.condition).__name__]


def check_condition(
    trained: runs.Trained, prompt: Sequence[str], label: Sequence[str], classifier: str | None
) -> None:
    """Raises InputError for a condition of another kind than the model's; labels may be for a
    classifier alone."""
    experiment = trained.experiment
    if prompt and not isinstance(experiment.condition, Text):
        raise InputError(
            f"prompt '{prompt[0]}' given to a model of {kind_of(trained)}: leave out --prompt, "
            "or sample from a run whose config has condition=Text()"
        )
    if label and not (classifier or isinstance(experiment.condition, Label)):
        raise InputError(
            f"label '{label[0]}' given to a model of {kind_of(trained)}: leave out --label, "
            "or sample from a run whose config has condition=Label(), or with --classifier RUN"
        )


def class_of(word: str, names: Sequence[str], count: int) -> int:
    """The class that a word names or numbers."""
    if word in names:
        return list(names).index(word)
    if word.isdecimal() and int(word) < count:
        return int(word)
    known = f", or one of {', '.join(names)}" if names else ""
    raise InputError(f"label '{word}' is out of range: expected 0 to {count - 1}{known}")


def inputs(trained: runs.Trained, request: Request) -> Batch:
    """What the conditioner reads for the request, each [num, ...]."""
    if isinstance(trained.experiment.condition, Label):
        return {"label": classes(request)}
    if request.compose:  # [num, n, length]
        each = [captions(trained, request, (prompt,)) for prompt in request.compose]
        return {name: np.stack([one[name] for one in each], axis=1) for name in each[0]}
    if request.to_prompts:
        prompts = (*(request.prompts or ("",)), *request.to_prompts)
        return captions(trained, request, prompts, legs(request, request.to_prompts)[0])
    if isinstance(trained.experiment.condition, Text):
        return captions(trained, request, request.prompts or ("",))
    return {}


def classes(request: Request) -> np.ndarray:
    """The labels in turn, [num] int32."""
    turn = turns(request) % len(request.labels)
    return np.asarray(request.labels, np.int32)[turn]


def of_source(trained: runs.Trained, request: Request) -> Batch:
    """What the conditioner reads of the image that a request inverts, each [num, ...]."""
    condition, source = trained.experiment.condition, request.source
    if isinstance(condition, Text):
        return captions(trained, request, (source or "",))
    if source is None:
        side = trained.experiment.data.image_size // trained.model.first_stage.factor
        return trained.model.conditioner.null(request.num, side, side)
    found = class_of(source, trained.class_names, condition.num_classes)
    return {"label": np.full(request.num, found, np.int32)}
