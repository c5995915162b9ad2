"""Where conversions read and write: what is wrong is named, and what is written is whole."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ldm_jax.errors import InputError

FILES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")


@contextmanager
def prefix_errors(source: Path) -> Iterator[None]:
    """Puts the name of what is read before what is wrong with it."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(str(source)):
            raise
        raise InputError(f"{source}: {error}") from error


@contextmanager
def whole(place: Path) -> Iterator[Path]:
    """A folder that appears as `place` once it is filled, or not at all."""
    unfinished = place.with_name(f".{place.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def as_json(content: Any) -> str:
    """The text of a small file, as others write theirs."""
    return json.dumps(content, indent=2) + "\n"
