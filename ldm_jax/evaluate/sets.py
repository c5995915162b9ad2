"""Sets of images in any form.

FOLDER        of images of one size, or of shards that `evaluate.py generate` wrote
FILE.npz      images `arr_0`, uint8 [N, H, W, 3] (ADM's layout), or statistics `mu` and `sigma`
data:RUN      the data of a run, prepared as for its training; data:RUN:SPLIT
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ldm_jax import runs
from ldm_jax.data import image_files, pipeline, readable, transforms
from ldm_jax.data.folder import EXTENSIONS
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.metrics.statistics import Moments
from ldm_jax.metrics.statistics_file import holds_statistics, read_statistics
from ldm_jax.sampling import png_metadata
from ldm_jax.sampling.request import every_section
from ldm_jax.settings import at_home

CHECKED = 50  # images of a data set whose formats a report names
SHARDS = "shard-*.npz"


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
    with np.load(path, allow_pickle=False) as file:
        has_images = "arr_0" in file.files
    if not has_images and holds_statistics(path):
        saved = read_statistics(path)
        return Statistics(name, {"kind": "statistics", **saved.metadata}, saved.moments)
    return _of_arrays(name, [path])


def spread(count: int, num: int) -> list[int]:
    """`num` evenly spaced indices of `count`."""
    return [i * count // num for i in range(num)]


def _batched(rows: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Images one after the other -> batches."""
    held = []
    for row in rows:
        held.append(row)
        if len(held) == size:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


# Images in a folder


def _of_folder(name: str, path: Path) -> Images:
    files = image_paths(path)
    if not files:
        raise InputError(f"'{name}' has no images (.{', .'.join(EXTENSIONS)})")
    with ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(_head, files))
    (size, _), first = heads[0], files[0]
    for file, (other, _) in zip(files, heads, strict=True):
        if other != size:
            raise InputError(
                f"{first} is {size[1]}x{size[0]} pixels and {file} {other[1]}x{other[0]}: expected "
                "images of one size; crop and resize them alike, or use data:RUN"
            )
    formats = sorted({kind for _, kind in heads})

    def batches(num: int, batch_size: int) -> Iterator[np.ndarray]:
        chosen = [files[i] for i in spread(len(files), num)]
        with ThreadPoolExecutor(4) as pool:
            for start in range(0, num, batch_size):
                yield np.stack(list(pool.map(_pixels, chosen[start : start + batch_size])))

    facts = {"kind": "folder", "format": ", ".join(formats), "preparation": "none"}
    return Images(name, len(files), size, facts | _facts_by(path / "report.json"), batches)


def image_paths(path: Path) -> list[Path]:
    """The files of a folder's images, in the order of the set."""
    written = (path / "report.json").exists()  # by sample.py, with grid.png
    return sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower().removeprefix(".") in EXTENSIONS
        and not (written and file == path / "grid.png")
    )


def _head(file: Path) -> tuple[tuple[int, int], str]:
    """Height and width, and format; raises InputError for what is not 8-bit RGB."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            mode, kind = image.mode, image.format
    except Exception as error:  # Pillow's readers raise anything for a damaged file
        raise _unreadable(file) from error
    if mode != "RGB":
        what = {"L": "grey", "RGBA": "transparent", "LA": "transparent", "P": "a palette image"}
        raise InputError(
            f"{file} is {what.get(mode, mode)} (mode {mode}): expected 8-bit RGB; convert all "
            "images of both sets in the same way, or use data:RUN, which does"
        )
    return (height, width), str(kind)


def _pixels(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as image:
            return np.asarray(image)
    except Exception as error:
        raise _unreadable(file) from error


def _unreadable(file: Path) -> InputError:
    return InputError(f"{file} cannot be read: expected a complete image; repair or remove it")


# Arrays in .npz files


def _of_arrays(name: str, paths: list[Path], report: Path | None = None) -> Images:
    shapes = [_array_shape(path) for path in paths]
    sizes = {shape[1:] for shape in shapes}
    if len(sizes) > 1:
        listed = " and ".join(f"{h}x{w}" for h, w, _ in sorted(sizes))
        raise InputError(f"'{name}' has images of {listed} pixels: expected one size")
    count = sum(shape[0] for shape in shapes)

    def batches(num: int, batch_size: int) -> Iterator[np.ndarray]:
        wanted = iter([*spread(count, num), -1])

        def rows() -> Iterator[np.ndarray]:
            following = next(wanted)
            position = 0
            for path in paths:
                for row in _array_rows(path):
                    if position == following:
                        yield row
                        following = next(wanted)
                    position += 1

        return _batched(rows(), batch_size)

    facts = {"kind": "npz", "format": "uint8 arrays", "preparation": "none"}
    facts |= _facts_by(report) if report else {}
    return Images(name, count, shapes[0][1:3], facts, batches)


def _array_shape(path: Path) -> tuple[int, ...]:
    """The shape of arr_0, without reading pixels."""
    with _array(path) as (shape, _, _):
        return shape


class _array:
    """arr_0 of an .npz, open: shape, type and the stream of its bytes."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self):
        try:
            self._zip = zipfile.ZipFile(self._path)
            self._file = self._zip.open("arr_0.npy")
            version = np.lib.format.read_magic(self._file)
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(self._file)
        except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
            raise InputError(
                f"{self._path} has no images: expected an .npz with arr_0, uint8 [N, H, W, 3]"
            ) from error
        if fortran or dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or not shape[0]:
            raise InputError(
                f"{self._path}: arr_0 is {dtype} {list(shape)}: expected uint8 [N, H, W, 3]"
            )
        return shape, dtype, self._file

    def __exit__(self, *_):
        self._file.close()
        self._zip.close()


def _array_rows(path: Path) -> Iterator[np.ndarray]:
    """The images of an .npz one after the other, one at a time in memory."""
    with _array(path) as (shape, dtype, file):
        size = int(np.prod(shape[1:]))
        for _ in range(shape[0]):
            try:
                row = file.read(size)
            except (zipfile.BadZipFile, OSError) as error:
                row = b""
                cause = error
            else:
                cause = None
            if len(row) < size:
                raise InputError(f"{path} is cut short or damaged: copy it again") from cause
            yield np.frombuffer(row, dtype).reshape(shape[1:])


def _facts_by(report: Path) -> dict[str, Any]:
    """Facts from the report of sample.py or `generate` in the images' folder."""
    if not report.exists():
        return {}
    try:
        found = json.loads(report.read_text("utf-8"))
    except ValueError:
        return {}
    if "generated" in found:
        return {"generated": found["generated"]}
    return {"generated": _summary(found)} if "request" in found or "sampler" in found else {}


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
    source, _ = pipeline.open_source(data)
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

    some = [source[i]["image"] for i in spread(len(source), min(len(source), CHECKED))]
    facts = {
        "kind": "data",
        "data": data.path,
        "split": data.split,
        "format": ", ".join(sorted({transforms.open_image(image).format for image in some})),
        "preparation": f"shorter side to {data.image_size} pixels by Lanczos, cropped in the "
        f"centre, not flipped{trained}",
    }
    return Images(name, len(source), (data.image_size,) * 2, facts, batches)
