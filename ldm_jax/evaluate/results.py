"""The results of an evaluation: where they are written, finite, and not mixed with others'."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ldm_jax
from ldm_jax import runs
from ldm_jax.data import image_files, latents, pipeline
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError, reading
from ldm_jax.runtime.files import write_whole
from ldm_jax.sections import flag
from ldm_jax.settings import check_folder, check_ranges, check_within


def check_options(options: Any) -> None:
    """Raises InputError for an option that is out of its range, by its name on the command line."""
    try:
        check_ranges(options)
    except InputError as error:
        name, rest = str(error).split(" is ", 1)
        raise InputError(f"{flag(name.rpartition('.')[2])} is {rest}") from error


def folder_of(out: str | None, run: str, name: str) -> Path:
    """Where an evaluation of a run writes: `out`, or the folder `name` in RUN.

    Raises:
        InputError: it cannot be written to.
    """
    path = Path(out or runs.folder(run) / name)
    check_folder(path, "--out")
    return path


def check_own(out: Path, record: str, entry: str, *others: str) -> None:
    """Raises InputError where a folder has files that an evaluation would write over and that it
    has not written.

    Args:
        record: the file of JSON that says that they are its own, by its `entry`.
        others: further files.
    """
    there = [name for name in (record, *others) if (out / name).exists()]
    try:
        own = entry in json.loads((out / record).read_text("utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        own = False
    if there and not own:
        raise InputError(
            f"--out '{out}' has '{there[0]}', which this evaluation has not written and would "
            "write over: expected another folder"
        )


def claim(out: Path, evaluation: str, *others: str) -> None:
    """`check_own` by a record that is written now, so that a stopped evaluation can start again."""
    check_own(out, "evaluation.json", evaluation, *others)
    write_json(out / "evaluation.json", {evaluation: ldm_jax.__version__})


def open_images(data: Data) -> tuple[Any, pipeline.DataInfo]:
    """`pipeline.open_source` of images.

    Raises:
        InputError: there are none, or they are encoded already.
    """
    source, info = pipeline.open_source(data)
    if isinstance(source, latents.Source):
        raise InputError(f"'{data.path}' holds latents: expected the images themselves")
    return source, info


def count_of(
    asked: int | None, available: int, of: str, name: str = "--num", least: int = 1
) -> int:
    """How many images are measured: those asked for, or all.

    Args:
        of: whose images they are, for the error.
        least: images that the metrics need.

    Raises:
        InputError: fewer than asked for, or than `least`.
    """
    num = available if asked is None else asked
    check_within(num, name, least, available, f"the images of {of}")
    return num


def finite(result: Any, name: str = "the result") -> None:
    """Raises FloatingPointError for the first value in a result that is not finite, by its name."""
    if isinstance(result, Mapping):
        for key, value in result.items():
            finite(value, str(key) if name == "the result" else f"{name}, {key}")
    elif isinstance(result, list | tuple):
        for value in result:
            finite(value, name)
    elif isinstance(result, float) and not math.isfinite(result):
        raise FloatingPointError(
            f"{name} is {result}: nothing is reported, since the images, the model or the "
            "extractor gave values that are not finite"
        )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file atomically, and its folder.

    Raises:
        FloatingPointError: a value is not finite.
    """
    finite(content)
    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        InputError: it is damaged.
    """
    with reading(f"'{path}'", "a JSON object; remove it, and it is written again"):
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise TypeError("it is no object")
    return found


def note(out: Path, name: str, asked: dict[str, Any], what: str) -> None:
    """Writes the request OUT/NAME of results that are in parts, or checks that it is equal.

    Args:
        what: is in the folder, for the error: "samples of another request".

    Raises:
        InputError: the folder has results of another request.
    """
    file = out / name
    if file.exists():
        found = read_json(file)
        for key in asked:
            if found.get(key) != asked[key]:
                was, now = (str(each.get(key))[:60] for each in (found, asked))
                raise InputError(
                    f"'{out}' has {what} ({key} {was}, now {now}): choose another --out, or remove "
                    "it"
                )
    write_json(file, asked)


def software() -> dict[str, str]:
    """What computed a result, as reports have it."""
    device = jax.devices()[0].device_kind
    return {"ldm_jax": ldm_jax.__version__, "jax": jax.__version__, "device": device}


def show(out: Path, *columns: Sequence[np.ndarray]) -> None:
    """Writes OUT/grid.png, whose cells are the first images [N, H, W, 3] of each of `columns`."""
    shown = np.stack(columns, axis=1)[: 32 // len(columns)]
    image_files.save(out / "grid.png", image_files.grid(shown.reshape(-1, *shown.shape[2:]), 8))


def scored(out: Path, scores: dict[str, float], by_chance: dict[str, float], how: str) -> None:
    """Writes OUT/scores.json, and prints each share beside the one that chance has."""
    write_json(out / "scores.json", {"scores": scores, how: by_chance})
    for name, value in scores.items():
        print(f"{name}: {value:.1%} ({how} {by_chance[name]:.1%})")


def known(value: Any) -> float | None:
    """A mean as JSON has it: None where it is infinite, as the PSNR of equal images is."""
    return None if value is None or np.isinf(value) else float(value)


def number(value: float | None, form: str) -> str:
    """What `known` gave, in a report."""
    return "infinite" if value is None else format(value, form)
