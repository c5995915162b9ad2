"""An image's record of how it was drawn, so that `sample.py --repeat PNG` draws it again."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import ldm_jax
from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.errors import InputError, reading
from ldm_jax.sections import Request, Section
from ldm_jax.settings import check_types

KEYWORD = "ldm_jax"  # of the text in the PNG


def text(trained: runs.Trained, request: Request, i: int) -> dict[str, str]:
    """What the PNG of image i records: JSON of its run, checkpoint and request, by sections."""
    record = {
        "run": str(trained.run),
        "checkpoint": trained.step,
        "ldm_jax": ldm_jax.__version__,
        "request": request.alone(i).as_dict(),
    }
    return {KEYWORD: json.dumps(record)}


def read(path: str) -> dict[str, Any]:
    """The same of a file.

    Raises:
        InputError: no such file, no PNG, or one that sample.py did not write.
    """
    if not Path(path).is_file():
        raise InputError(f"--repeat '{path}' does not exist: expected a PNG that sample.py wrote")
    try:
        record = json.loads(image_files.read_text(path).get(KEYWORD, "null"))
    except Exception as error:
        raise InputError(f"--repeat '{path}' cannot be read ({error}): expected a PNG") from error
    parts = (record.get("request"), record.get("run")) if isinstance(record, dict) else ()
    if [type(part) for part in parts] != [dict, str]:
        raise InputError(
            f"--repeat '{path}' does not say how it was drawn: expected a PNG that sample.py wrote "
            "of a diffusion model, and that nobody saved again"
        )
    return record


def options(record: dict[str, Any], sections: Iterable[type[Section]]) -> dict[str, Any]:
    """The options of sample.py, by name, that an image was drawn with.

    Args:
        sections: that there are; images of earlier versions have flat options of other names.
    """
    sections, found = tuple(sections), {}
    renamed = {old: new for section in sections for old, new in section.renamed.items()}
    for name, value in record["request"].items():
        part = value if isinstance(value, dict) else {renamed.get(name, name): value}
        found |= part
    stops = found.pop("to_prompts", ())
    if stops:
        found["prompt"] = [*(found["prompt"] or [""]), *stops]
    if found.get("times"):  # which say these
        found = {n: x for n, x in found.items() if n not in ("steps", "spacing")}
    return {n: _as_tuple(x) for n, x in found.items()}


def _as_tuple(x: Any) -> Any:
    return tuple(map(_as_tuple, x)) if isinstance(x, list) else x


def repeated(record: dict[str, Any], asked: Request, given: Collection[str]) -> Request:
    """The request of an image, with options of `asked` in place of its own.

    Args:
        given: options of the new request; what goes with them is not taken from the image.
    """
    settled = {other for one in asked for n in given for other in one.settles.get(n, ())}
    with reading("--repeat's PNG", "one that sample.py wrote"):
        own, mine = options(record, map(type, asked)), asked.owners()
    others = {*settled, *given}
    kept = {n: x for n, x in own.items() if x is not None and n in mine and n not in others}
    found = asked.replace(**kept)
    for section in found:
        check_types(section, "--repeat")
    return found
