"""What conversions say of the files they read, and how they write small ones."""

import json
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


def as_json(content: Any) -> str:
    """The text of a small file, as others write theirs."""
    return json.dumps(content, indent=2) + "\n"
