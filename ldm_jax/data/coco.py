"""COCO's annotations: captions_*.json and instances_*.json, of captions and boxes."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ldm_jax.data.image_set import ImageSet, shown
from ldm_jax.data.metadata import nfc
from ldm_jax.data.shards import of_split
from ldm_jax.data.table import Row, Table
from ldm_jax.errors import InputError, reading

NAMES = re.compile(r"(.*/)?((instances|captions)_[^/]*|_annotations\.coco)\.json")
OTHERS = "without annotations"
EXPECTED = "images, annotations and categories as COCO has them"


def read(files: ImageSet, split: str | None) -> Table | None:
    """The annotated images of a folder; None without such annotations, whatever has their name.

    Raises:
        InputError: annotations of other splits alone, or that cannot be read, or of no image here.
    """
    found = [name for name in files.others if NAMES.fullmatch(name)]
    if not found:
        return None
    try:
        chosen = of_split(files, found, split)
    except InputError:
        if any(_content(files.root / name) for name in found):
            raise
        return None
    said: dict[str, tuple[str, dict[str, Any]]] = {}  # image -> where, and its fields
    classes: dict[str, int] = {}
    left_out: dict[str, list[str]] = {}
    used, gone = [], set()
    for name in chosen:
        find = _finder(files, name)
        if (content := _content(files.root / name)) is None:
            continue
        used.append(name)
        with reading(f"'{files.root / name}'", EXPECTED):
            images = {}
            for each in content["images"]:
                if image := find(each["file_name"]):
                    where = shown(f"{files.root / name} image {each['file_name']}")
                    images[each["id"]] = each, said.setdefault(image, (where, {}))[1]
                else:
                    gone.add(each["file_name"])
            _annotate(content, images, classes, left_out)
    if not used:
        return None
    if not said:
        raise InputError(
            f"{files.root / used[0]} names none of the images in {files.root}: expected the "
            "folder of the images and that of the annotations side by side"
        )
    left_out |= {"annotated images that are not there": sorted(gone)} if gone else {}
    rows = [Row(where, os.path.join(files.root, x), fields) for x, (where, fields) in said.items()]
    return Table(rows, tuple(used), OTHERS, {"boxes": tuple(classes)}, left_out)


def _content(path: Path) -> dict[str, Any] | None:
    """What a file holds; None where it is not of COCO."""
    with reading(f"'{path}'", EXPECTED):
        content = json.loads(path.read_text("utf-8-sig"))
    coco = isinstance(content, dict) and {"images", "annotations"} <= content.keys()
    return content if coco else None


def _annotate(
    content: dict[str, Any],
    images: dict[Any, tuple[dict[str, Any], dict[str, Any]]],
    classes: dict[str, int],
    left_out: dict[str, list[str]],
) -> None:
    """Adds the captions and boxes of a file to the fields of its images, which are by id, with
    their width and height."""
    kinds = {each["id"]: str(each["name"]) for each in content.get("categories", ())}
    for kind in kinds.values():
        classes.setdefault(kind, len(classes))
    if kinds:
        for _, fields in images.values():
            fields.setdefault("boxes", [])
    for each in content["annotations"]:
        if each["image_id"] not in images:
            continue
        image, fields = images[each["image_id"]]
        if "caption" in each:
            fields.setdefault("text", []).append(" ".join(each["caption"].split()))
        if "bbox" in each:
            box = _box(each["bbox"], image["width"], image["height"])
            if each.get("iscrowd") or min(box[2:]) <= 0:
                kind = "boxes of crowds" if each.get("iscrowd") else "boxes without area"
                left_out.setdefault(kind, []).append(f"of {image['file_name']}")
            else:
                fields["boxes"].append([*box, classes[kinds[each["category_id"]]]])


def _box(box: list[float], width: int, height: int) -> list[float]:
    """x, y, width and height in pixels -> in parts of the image, within it."""
    x, y, w, h = box
    left, right = (min(max(edge / width, 0.0), 1.0) for edge in (x, x + w))
    top, bottom = (min(max(edge / height, 0.0), 1.0) for edge in (y, y + h))
    return [left, top, right - left, bottom - top]


def _finder(files: ImageSet, annotations: str) -> Callable[[str], str | None]:
    """Name in a file of annotations -> image. Of several of a name, it is that in the folder which
    is in the name of the annotations, such as train2017."""
    places: dict[str, list[str]] = {}
    for image in files.images:
        places.setdefault(nfc(image.rpartition("/")[2]), []).append(image)
    own = os.path.splitext(os.path.basename(annotations))[0].partition("_")[2]

    def find(name: str) -> str | None:
        name = nfc(name.replace("\\", "/"))
        alike = places.get(name.rpartition("/")[2], ())
        ends = [x for x in alike if f"/{nfc(x)}".endswith(f"/{name}")]
        if len(ends) > 1:
            ends = [x for x in ends if own in x.split("/") or nfc(x) == name] or ends
        if len(ends) > 1:
            raise InputError(
                f"{files.root / annotations} names {shown(name)}, which is {len(ends)} times in "
                f"{files.root}, as {shown(ends[0])} and {shown(ends[1])}: move the others away"
            )
        return ends[0] if ends else None

    return find
