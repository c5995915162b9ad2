"""What a folder of results was asked for, so that results of something else are not mixed in."""

import json
from pathlib import Path
from typing import Any

from ldm_jax.errors import InputError


def note(out: Path, name: str, asked: dict[str, Any], what: str) -> None:
    """Writes OUT/NAME, or finds that it says the same.

    Args:
        what: is in the folder, for the error: "samples of another request".

    Raises:
        InputError: the folder holds what was asked for otherwise.
    """
    file = out / name
    if file.exists():
        found = json.loads(file.read_text())
        apart = [key for key in asked if found.get(key) != asked[key]]
        if apart:
            key = apart[0]
            was, now = (str(each.get(key))[:60] for each in (found, asked))
            raise InputError(
                f"'{out}' has {what} ({key} {was}, now {now}): choose another --out, or remove it"
            )
    write_json(file, asked)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file that is never seen half-written, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
