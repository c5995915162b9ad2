"""What a request tells the conditioner."""

from collections.abc import Sequence

import numpy as np

from ldm_jax import runs
from ldm_jax.conditioning import tokenizer as tokens
from ldm_jax.config import Label, Text
from ldm_jax.errors import InputError
from ldm_jax.request.wanted import Request
from ldm_jax.types import Batch


def kind_of(trained: runs.Trained) -> str:
    kinds = {"Text": "captions", "Label": "class labels", "Unconditional": "no condition"}
    return kinds[type(trained.experiment.condition).__name__]


def check_condition(trained: runs.Trained, prompt: Sequence[str], label: Sequence[str]) -> None:
    """Raises InputError for a condition of another kind than the model's."""
    experiment = trained.experiment
    if prompt and not isinstance(experiment.condition, Text):
        raise InputError(
            f"prompt '{prompt[0]}' given to a model of {kind_of(trained)}: leave out --prompt, "
            "or sample from a run whose config has condition=Text()"
        )
    if label and not isinstance(experiment.condition, Label):
        raise InputError(
            f"label '{label[0]}' given to a model of {kind_of(trained)}: leave out --label, "
            "or sample from a run whose config has condition=Label()"
        )


def class_of(word: str, trained: runs.Trained) -> int:
    """The class that a word names or numbers."""
    if word in trained.class_names:
        return trained.class_names.index(word)
    count = trained.experiment.condition.num_classes
    if word.isdecimal() and int(word) < count:
        return int(word)
    names = f", or one of {', '.join(trained.class_names)}" if trained.class_names else ""
    raise InputError(f"label '{word}' is out of range: expected 0 to {count - 1}{names}")


def inputs(trained: runs.Trained, request: Request) -> Batch:
    """What the conditioner reads for the request, each [num, ...]."""
    turn = np.arange(request.num)
    if request.labels:
        return {"label": np.asarray(request.labels, np.int32)[turn % len(request.labels)]}
    if isinstance(trained.experiment.condition, Text):
        return {"tokens": in_turn(trained, request.prompts or ("",), request.num)}
    return {}


def in_turn(trained: runs.Trained, prompts: Sequence[str], num: int) -> np.ndarray:
    rows = np.stack([tokens.encode(trained.tokenizer, prompt) for prompt in prompts])
    return rows[np.arange(num) % len(prompts)]
