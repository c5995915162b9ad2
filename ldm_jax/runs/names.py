"""What a run calls things: its tokenizer, names of classes and of objects."""

from pathlib import Path

from tokenizers import Tokenizer

from ldm_jax.conditioning.condition import find
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.runs.paths import folder


def load_tokenizer(place: Path, experiment: Experiment) -> Tokenizer:
    """The tokenizer of a run that reads captions.

    Raises:
        InputError: it has none, as a model that was converted without.
    """
    run = folder(place)
    path, condition = run / "tokenizer.json", find(experiment.conditions, "tokens")
    if not path.exists():
        raise InputError(
            f"run '{run}' has no tokenizer.json: expected one of {condition.vocab_size} tokens; "
            "convert it with --tokenizer, for the published models tokenizer.json or vocab.txt of "
            "bert-base-uncased"
        )
    return tokens.load(path, condition.length)


def class_names_of(run: Path) -> tuple[str, ...]:
    """Names of the classes; () where they have none."""
    return _lines(run / "classes.txt")


def object_names(place: Path) -> tuple[str, ...]:
    """Names of the classes of what lies in boxes; () where they have none."""
    return _lines(folder(place) / "objects.txt")


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(file.read_text().splitlines()) if file.exists() else ()
