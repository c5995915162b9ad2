"""What a run calls things: its tokenizers, names of classes and of objects."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ldm_jax.data.metadata import nfc
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.runs.paths import folder
from ldm_jax.settings import read_text


def text_encoders(experiment: Any) -> dict[str, Any]:
    """Entry of a batch -> the settings of the text encoder that reads it; none without captions."""
    return getattr(experiment, "text_encoders", {})


def tokenizer_file(entry: str) -> str:
    """The file in a run of the tokenizer that fills an entry of a batch: tokens, tokens_1, ..."""
    return f"{entry.replace('tokens', 'tokenizer', 1)}.json"


def load_tokenizers(place: Path, experiment: Any) -> dict[str, Tokenizer]:
    """The tokenizers of a run by the entries of a batch that they fill; none where it reads no
    captions.

    Raises:
        InputError: it has not all of them, as a model that was converted without.
    """
    run, found = folder(place), {}
    for entry, encoder in text_encoders(experiment).items():
        path = run / tokenizer_file(entry)
        if not path.exists():
            raise InputError(
                f"run '{run}' has no {path.name}: expected one of {encoder.vocab_size} tokens; "
                "convert it with --tokenizer, for the published models tokenizer.json or vocab.txt "
                "of bert-base-uncased"
            )
        found[entry] = tokens.load(path, encoder.length)
    return found


def class_names_of(run: Path) -> tuple[str, ...]:
    """Names of the classes; () where they have none."""
    return _lines(run / "classes.txt")


def object_names(place: Path) -> tuple[str, ...]:
    """Names of the classes of what lies in boxes; () where they have none."""
    return _lines(folder(place) / "objects.txt")


def _lines(file: Path) -> tuple[str, ...]:
    text = read_text(file, "names of classes") if file.exists() else ""
    return tuple(nfc(text).removesuffix("\n").split("\n")) if text else ()  # or other line ends
