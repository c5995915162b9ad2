"""Which images to train on, and how they become a batch."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from ldm_jax.settings import AtLeast1, AtLeastOne, NotNegativeInt, Range

Colour = Annotated[
    tuple[int, int, int],
    Range("red, green and blue, 0 to 255", lambda x: 0 <= min(x) <= max(x) <= 255),
]


@dataclass(frozen=True)
class Shapes:
    """The drawn data set: scenes of coloured shapes (only read where `data.path` is `shapes`)."""

    min_objects: AtLeast1 = 1  # shapes of an image, at least
    max_objects: AtLeast1 = 3  # shapes of an image, at most
    num_train: AtLeast1 = 20_000  # images of the training split
    num_test: AtLeast1 = 1_000  # images of the test split


@dataclass(frozen=True)
class Data:
    """Where images come from and how they become a batch.

    In the first stage of an `Experiment`, a field left at its default is as in the second stage.
    """

    path: str | None = None  # a folder, `tfds:NAME`, or `shapes`
    image_size: AtLeast1 | None = None  # pixels a side
    batch_size: AtLeast1 = 64  # global: over all devices and hosts
    split: str = "train"  # of the data
    crop: Literal["center", "random"] = "center"  # the square that is cut from an image
    flip: bool = False  # mirror half of the images
    upscale: bool = False  # enlarge images smaller than image_size instead of refusing them
    background: Colour = (255, 255, 255)  # behind transparent images
    caption: str = "text"  # field of metadata.jsonl or of a TFDS example that holds the caption
    # of all images, one of them drawn each time, in place of their own; (): their own
    captions: tuple[str, ...] = ()
    label: str = "label"  # field of metadata.jsonl or of a TFDS example that holds the class
    repeats: bool = False  # images in a folder called 10_cat come ten times an epoch (kohya's)
    object_label: str | None = None  # what of a TFDS box is its class; None: the first that can be
    # sides are multiples of N pixels, such as 64: each image of a diffusion model's training
    # keeps about its own shape, in one of the sizes of at most image_size^2 pixels; 0: squares
    buckets: NotNegativeInt = 0
    bucket_aspect: AtLeastOne = 2.0  # longest side of such a size, in its shortest
    max_bad_images: NotNegativeInt = 10  # unreadable images to skip before stopping
    threads: NotNegativeInt = 2  # that read and decode
    shapes: Shapes = field(default_factory=Shapes)

    def seen_from(self, run: Path) -> "Data":
        """The same where a run's data are found from here.

        A relative path is that from where training was: the working directory, or else the nearest
        folder above the run in which it exists.
        """
        path, at_home = Path(self.path or ""), os.path.expanduser(self.path or "")
        if self.path in (None, "shapes") or path.is_absolute() or os.path.exists(at_home):
            return self
        above = (folder / path for folder in Path(os.path.abspath(run)).parents)
        found = next((place for place in above if place.exists()), None)
        return replace(self, path=str(found)) if found else self
