"""Sets of images in any form.

FOLDER        of images of one size, or of shards that `evaluate.py generate` wrote
FILE.npz      images `arr_0`, uint8 [N, H, W, 3] (ADM's layout), or statistics `mu` and `sigma`
data:RUN      the data of a run, prepared as for its training; data:RUN:SPLIT
"""

import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from ldm_jax import runs
from ldm_jax.data import image_files, pipeline, readable, transforms
from ldm_jax.data.folder import list_encoded
from ldm_jax.data.image_set import EXTENSIONS, shown
from ldm_jax.data.readable import spread
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError, reading
from ldm_jax.evaluate.results import open_images
from ldm_jax.metrics.statistics import Moments
from ldm_jax.metrics.statistics_file import names_in, read_statistics
from ldm_jax.sampling import png_metadata
from ldm_jax.sampling.request import every_section
from ldm_jax.settings import at_home

CHECKED = 50  # images of a data set whose formats a report names
SHARDS = "shard-*.npz"
HEADER_2 = np.lib.format.read_array_header_2_0
MODES = {"L": "grey", "RGBA": "transparent", "LA": "transparent", "P": "a palette image"}
T = TypeVar("T")


class Images(NamedTuple):
    """A set of images of one size.

    name:    as requested
    count:   of images
    size:    height and width in pixels
    facts:   for the report
    batches: (num, batch size) -> uint8 [b, H, W, 3], `num` of them evenly spaced, in order
    """

    name: str
    count: int
    size: tuple[int, int]
    facts: dict[str, Any]
    batches: Callable[[int, int], Iterator[np.ndarray]]


class Statistics(NamedTuple):
    """Statistics of the features of a set."""

    name: str
    facts: dict[str, Any]
    moments: dict[str, Moments]


def open_set(name: str) -> Images | Statistics:
    """The set that an argument names.

    Raises:
        InputError: there is no such set, or its images cannot be used together; nothing is skipped.
    """
    if name.startswith("data:"):
        return _of_run(name)
    path = at_home(name)
    if runs.is_run(path):
        raise InputError(
            f"'{name}' is a run: expected data:{name} for its training data, or the run as "
            "the first of the two sets, to draw samples of it"
        )
    if path.is_dir():
        shards = sorted(path.glob(SHARDS))
        return _of_arrays(name, shards, path / "report.json") if shards else _of_folder(name, path)
    if not path.exists():
        raise InputError(
            f"'{name}' does not exist: expected a folder of images, an .npz of images or "
            "statistics, or data:RUN for the data of a run"
        )
    if not zipfile.is_zipfile(path):
        raise InputError(f"'{name}' is neither a folder nor an .npz: expected one, or data:RUN")
    held = names_in(path)
    if "mu" in held and "arr_0" not in held:
        saved = read_statistics(path)
        return Statistics(name, {"kind": "statistics", **saved.metadata}, saved.moments)
    return _of_arrays(name, [path])


# Images in a folder


def _of_folder(name: str, path: Path) -> Images:
    files, left_out = list_encoded(path)
    if not files:
        raise InputError(
            f"'{name}' has no images (.{', .'.join(EXTENSIONS)})"
            + f": left out are {left_out}" * bool(left_out)
        )
    with ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(lambda file: _read(file, _head), files))
    size, first = heads[0][0], files[0]
    for file, (other, _, mode) in zip(files, heads, strict=True):
        if mode != "RGB":
            raise InputError(
                f"{file} is {MODES.get(mode, mode)} (mode {mode}): expected 8-bit RGB; convert all "
                "images of both sets in the same way, or use data:RUN, which does"
            )
        if other != size:
            raise InputError(
                f"{first} is {size[1]}x{size[0]} pixels and {file} {other[1]}x{other[0]}: expected "
                "images of one size; crop and resize them alike, or use data:RUN"
            )
    formats = sorted({kind for _, kind, _ in heads})

    def pixels(file: transforms.Encoded) -> np.ndarray:
        return _read(file, np.asarray)

    def batches(num: int, batch_size: int) -> Iterator[np.ndarray]:
        chosen = [files[i] for i in spread(len(files), num)]
        with ThreadPoolExecutor(4) as pool:
            for start in range(0, num, batch_size):
                yield np.stack(list(pool.map(pixels, chosen[start : start + batch_size])))

    facts = {"kind": "folder", "images": len(files), "left_out": left_out or "nothing"}
    facts |= {"format": ", ".join(formats), "preparation": "none"}
    return Images(name, len(files), size, facts | _facts_by(path / "report.json"), batches)


def _read(file: transforms.Encoded, of: Callable[[Image.Image], T]) -> T:
    expected = "a complete image; repair or remove it"
    with reading(shown(file), expected), transforms.open_image(file) as image:
        if "exif" in image.info:  # upright, as in training
            transforms.turn(image)
        return of(image)


def _head(image: Image.Image) -> tuple[tuple[int, int], str, str]:
    """Height and width, format and mode."""
    return image.size[::-1], str(image.format), image.mode


# Arrays in .npz files


def _of_arrays(name: str, paths: list[Path], report: Path | None = None) -> Images:
    shapes = []
    for path in paths:
        with _array(path) as (shape, _):
            shapes.append(shape)
    sizes = {shape[1:3] for shape in shapes}
    if len(sizes) > 1:
        listed = " and ".join(f"{h}x{w}" for h, w in sorted(sizes))
        raise InputError(f"'{name}' has images of {listed} pixels: expected one size")
    count = sum(shape[0] for shape in shapes)

    def batches(num: int, batch_size: int) -> Iterator[np.ndarray]:
        rows = enumerate(row for path in paths for row in _array_rows(path))
        places = spread(count, num)
        for start in range(0, num, batch_size):
            some = places[start : start + batch_size]
            yield np.stack([next(row for i, row in rows if i == place) for place in some])

    facts = {"kind": "npz", "images": count, "format": "uint8 arrays", "preparation": "none"}
    facts |= _facts_by(report) if report else {}
    return Images(name, count, shapes[0][1:3], facts, batches)


@contextmanager
def _array(path: Path) -> Iterator[tuple[tuple[int, ...], IO[bytes]]]:
    """The shape of arr_0 of an .npz, and the open stream of its bytes."""
    with ExitStack() as opened:
        with reading(f"'{path}'", "an .npz with arr_0, uint8 [N, H, W, 3]"):
            archive = opened.enter_context(zipfile.ZipFile(path))
            file = opened.enter_context(archive.open("arr_0.npy"))
            first = np.lib.format.read_magic(file) == (1, 0)
            read = np.lib.format.read_array_header_1_0 if first else HEADER_2
            shape, fortran, dtype = read(file)
        if fortran or dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or not all(shape):
            raise InputError(
                f"{path}: arr_0 is {dtype} {list(shape)}: expected uint8 [N, H, W, 3], of values "
                "0 to 255"
            )
        yield shape, file


def _array_rows(path: Path) -> Iterator[np.ndarray]:
    """The images of an .npz one after the other, one at a time in memory."""
    with _array(path) as (shape, file):
        for _ in range(shape[0]):
            with reading(f"'{path}'", "a complete .npz: copy it again"):
                row = np.frombuffer(file.read(math.prod(shape[1:])), np.uint8).reshape(shape[1:])
            yield row


def _facts_by(report: Path) -> dict[str, Any]:
    """Facts from the report of sample.py or `generate` in the images' folder, if it is theirs."""
    try:
        found = json.loads(report.read_text("utf-8"))
        if "generated" in found:
            return {"generated": found["generated"]}
        return {"generated": _summary(found)} if "request" in found or "sampler" in found else {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _summary(found: dict[str, Any]) -> dict[str, Any]:
    """Of a report of sample.py, what the quality of its images depends on."""
    config = found.get("config", {})
    # before requests had sections, their options were those of the report
    request = found.get("request") or {n: x for n, x in found.items() if n != "config"}
    options = png_metadata.options({"request": request}, every_section())
    names = ("run", "checkpoint", "weights")
    kept = {name: found.get(name) for name in names} | quality_options(options)
    return {name: x for name, x in kept.items() if x is not None} | {
        "ema_decay": config.get("optim", {}).get("ema_decay"),
        "autoencoder": config.get("first_stage", {}).get("model"),
        "labels": _labels(options),
    }


def quality_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options of a request those on which the quality of its images depends."""
    names = ("sampler", "steps", "spacing", "times", "guidance", "eta", "seed")
    return {name: options[name] for name in names if options.get(name) not in (None, ())}


def _labels(options: Mapping[str, Any]) -> str:
    for name, what in (("label", "labels"), ("prompt", "prompts")):
        if options.get(name):
            return f"{len(options[name])} {what}, cycled"
    return "none"


# Data of a run


def _of_run(name: str) -> Images:
    _, _, rest = name.partition(":")
    run, colon, split = rest.rpartition(":") if not Path(rest).is_dir() else (rest, "", "")
    described = runs.describe_any(Path(run if colon else rest))
    data = described.experiment.data.seen_from(described.run)
    if split:
        data = replace(data, split=split)
    source, _ = open_images(data)
    readable.check_readable(data, source)
    trained = f"; as run '{described.run}' was trained ({described.experiment.kind})"
    return of_data(name, data, source, trained)


def of_data(name: str, data: Data, source: Any, trained: str = "") -> Images:
    """The images of an opened source, prepared as for training.

    Args:
        trained: the purpose, for the report.
    """

    def batches(num: int, batch_size: int) -> Iterator[np.ndarray]:
        for batch in pipeline.once(replace(data, batch_size=batch_size), source, num):
            yield image_files.to_uint8(batch["image"])

    some = [source[i]["image"] for i in spread(len(source), CHECKED)]
    facts = {
        "kind": "data",
        "data": data.path,
        "split": data.split,
        "images": len(source),
        "left_out": getattr(source, "left_out", "") or "nothing",
        "format": ", ".join(sorted({transforms.open_image(image).format for image in some})),
        "preparation": f"shorter side to {data.image_size} pixels by Lanczos, cropped in the "
        f"centre, not flipped{trained}",
    }
    return Images(name, len(source), (data.image_size,) * 2, facts, batches)
