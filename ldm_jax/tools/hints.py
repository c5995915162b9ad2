"""Hints of the images of a folder, in files."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ldm_jax.data import key_points, metadata, transforms
from ldm_jax.data.folder import list_images, open_folder
from ldm_jax.data.hints import edges
from ldm_jax.data.image_files import to_uint8
from ldm_jax.errors import InputError
from ldm_jax.extractors.hed import soft_edges
from ldm_jax.runtime.files import whole_folder, write_whole
from ldm_jax.weights.names.hed import read_hed

Kind = Literal["canny", "hed", "pose"]
Make = Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]  # image, its fields -> [H, W, 3 or 1]


def make_hints(kind: Kind, source: str, out: Path, weights: str | None) -> int:
    """Writes the hint of an image to a file, or those of a folder's images and a metadata.jsonl
    that names both into a new folder; returns how many.

    Raises:
        InputError: no such images, no key points, or what makes hints is not there.
    """
    if out.exists():
        raise InputError(f"'{out}' exists: expected a new name")
    make = maker(kind, weights)
    if os.path.isfile(source):
        save(make(opened(source), {}), out)
        return 1
    with whole_folder(out) as folder:
        rows = []
        for i, (image, fields) in enumerate(examples(source)):
            hint = f"{i:06}.png"
            save(make(opened(image), fields), folder / hint)
            if callable(image):  # in a shard
                name = f"{i:06}-image.png"
                Image.fromarray(opened(image)).save(folder / name)
            else:
                name = os.path.relpath(image, out)
            said = {n: x for n, x in fields.items() if n != "key_points"}
            rows.append({"file_name": name, "conditioning_image": hint, **said})
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_whole(folder / "metadata.jsonl", text)
    return len(rows)


def maker(kind: Kind, weights: str | None) -> Make:
    """What makes a hint of this kind."""
    if weights is not None and kind != "hed":
        raise InputError(f"--weights is '{weights}' for {kind}, which has none: leave it out")
    if kind == "canny":
        return lambda image, fields: edges(image)
    if kind == "hed":
        params = read_hed(weights)
        return lambda image, fields: soft_edges(params, image)
    return lambda image, fields: key_points.pose(people_of(fields), image.shape[:2])


def people_of(fields: Mapping[str, Any]) -> Any:
    """The key points of an image.

    Raises:
        InputError: there are none, or they are none.
    """
    people = fields.get("key_points")
    if not key_points.are_people(people):
        raise InputError(
            f"an image has the key points {str(people)[:60]}: expected a metadata.jsonl with "
            f"{key_points.FORM}, for each image"
        )
    return people


def examples(source: str) -> Iterator[tuple[transforms.Encoded, dict[str, Any]]]:
    """Each image of a folder, and what is said of it."""
    files = list_images(source)
    file, rows = metadata.read(files)
    if file:
        yield from ((row.image, row.fields) for row in rows)
        return
    folder = open_folder(source, split="train", caption="text", label="label")
    for i in range(len(folder)):
        example = folder[i]
        yield example["image"], {"text": example["text"]} if "text" in example else {}


def opened(image: transforms.Encoded) -> np.ndarray:
    """uint8 [H, W, 3], upright, white behind what is transparent."""
    return np.asarray(transforms.decode(image, (255, 255, 255)))


def save(hint: np.ndarray, path: Path) -> None:
    """Writes a hint [H, W, 3 or 1], 0 to 1, as a PNG."""
    Image.fromarray(to_uint8(2.0 * hint.repeat(3 // hint.shape[-1], axis=-1) - 1.0)).save(path)
