"""What conditions are made of, from examples as the pipeline reads them.

Each function here gives one for `pipeline.batches(derive=...)`: of an example, and of the random
numbers that belong to it.
"""

from typing import Literal

import numpy as np
from PIL import Image

from ldm_jax.conditioning.clip_image import prepared
from ldm_jax.conditioning.depth import normalised, resized
from ldm_jax.conditioning.settings import Retrieval
from ldm_jax.data import degradation, masks, objects, transforms
from ldm_jax.data import neighbours as search
from ldm_jax.data.reader import Derive
from ldm_jax.errors import InputError

UNLABELLED = 255  # what maps say of pixels that have no class


def boxes(max_objects: int, num_classes: int) -> Derive:
    """Boxes in an order drawn anew, [max_objects, 5] float32, see `objects.padded`."""

    def make(example, rng):
        found = example["boxes"]
        if len(found) and found[:, 4].max() >= num_classes:
            raise InputError(
                f"{example['name']} has a box of class {found[:, 4].max():g}: expected 0 to "
                f"{num_classes - 1}; raise condition.num_classes"
            )
        return objects.padded(found, max_objects, rng)

    return make


def segmentation(num_classes: int) -> Derive:
    """Classes of pixels, [R, R] int32; `num_classes` where there is none."""

    def make(example, rng):
        return checked_map(example["segmentation"], num_classes, example["name"])

    return make


def checked_map(classes: np.ndarray, num_classes: int, name: str) -> np.ndarray:
    """A map uint8 [H, W] as conditioners read it, int32; `name` says whose it is.

    Raises:
        InputError: a class beyond the last.
    """
    labelled = classes[classes != UNLABELLED]
    if labelled.max(initial=0) >= num_classes:
        raise InputError(
            f"the segmentation map of {name} has class {labelled.max()}: expected 0 to "
            f"{num_classes - 1}, the classes of the model, or {UNLABELLED} for none"
        )
    return np.where(classes == UNLABELLED, num_classes, classes).astype(np.int32)


def depth(factor: int) -> Derive:
    """How near each place is, from -1, the farthest, to 1, [R / factor, R / factor, 1] float32."""

    def make(example, rng):
        side = len(example["image"]) // factor
        return normalised(resized(example["depth"], (side, side)))[..., None]

    return make


def low_resolution(factor: int, kind: Literal["bicubic", "bsr"]) -> Derive:
    """The image made small, [R / factor, R / factor, 3] float32 in [-1, 1]."""

    def make(example, rng):
        if kind == "bsr":
            return transforms.normalize(degradation.bsr(example["image"], factor, rng))
        return transforms.normalize(degradation.bicubic(example["image"], factor))

    return make


def noise(factor: int, max_noise: int | None) -> dict[str, Derive]:
    """Noise for small images, and its level below `max_noise`; nothing where that is None."""
    if max_noise is None:
        return {}

    def make(example, rng):
        side = len(example["image"]) // factor
        return rng.standard_normal((side, side, 3), np.float32)

    def level(example, rng):
        return np.int32(rng.integers(max_noise))

    return {"low_resolution_noise": make, "noise_level": level}


def picture(size: int) -> Derive:
    """The image as CLIP's tower sees it, [size, size, 3] float32."""

    def make(example, rng):
        return prepared(Image.fromarray(np.asarray(example["image"])), size)

    return make


def embedding_noise(dim: int, max_noise: int) -> dict[str, Derive]:
    """Noise for an embedding, [dim], and its level below `max_noise`."""
    return {
        "picture_noise": lambda example, rng: rng.standard_normal(dim, np.float32),
        "noise_level": lambda example, rng: np.int32(rng.integers(max_noise)),
    }


def mask() -> Derive:
    """What is to be made anew, [R, R, 1] float32, 1 where it is."""

    def make(example, rng):
        return masks.free_form(len(example["image"]), rng)[..., None].astype(np.float32)

    return make


def neighbours(condition: Retrieval) -> Derive:
    """Embeddings of the nearest other images, [k, dim] float32.

    Raises:
        InputError: embeddings that cannot be read, or fewer than there are to show.
    """
    if not condition.embeddings:
        raise InputError(
            "condition.embeddings is not set: expected a .npy [N, dim] with a row for each image "
            "of the training data"
        )
    rows = search.load(condition.embeddings, condition.dim, "condition.embeddings")
    if len(rows) <= condition.neighbours:
        raise InputError(
            f"condition.embeddings '{condition.embeddings}' has {len(rows)} rows: expected more "
            f"than condition.neighbours, which is {condition.neighbours}"
        )
    near = search.nearest_others(rows, condition.neighbours)

    def make(example, rng):
        if example["index"] >= len(rows):
            raise InputError(
                f"{example['name']} is image {example['index']} and condition.embeddings "
                f"'{condition.embeddings}' has {len(rows)} rows: expected one for each image"
            )
        return rows[near[example["index"]]]

    return make
