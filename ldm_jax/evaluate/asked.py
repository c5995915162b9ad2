"""The request of a folder of results, so that results of another request are not mixed in."""

import json
from pathlib import Path
from typing import Any

from ldm_jax.errors import InputError


def note(out: Path, name: str, asked: dict[str, Any], what: str) -> None:
    """Writes OUT/NAME, or checks that it is equal.

    Args:
        what: is in the folder, for the error: "samples of another request".

    Raises:
        InputError: the folder has results of another request.
    """
    file = out / name
    if file.exists():
        found = json.loads(file.read_text("utf-8"))
        apart = [key for key in asked if found.get(key) != asked[key]]
        if apart:
            key = apart[0]
            was, now = (str(each.get(key))[:60] for each in (found, asked))
            raise InputError(
                f"'{out}' has {what} ({key} {was}, now {now}): choose another --out, or remove it"
            )
    write_json(file, asked)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file atomically, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    partial.replace(path)
