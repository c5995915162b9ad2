"""Folders of kohya's scripts: images in 10_black cat come ten times an epoch, and without a file of
their own "black cat" is their caption."""

import os
import re

from ldm_jax.data import captions
from ldm_jax.data.image_set import ImageSet, shown
from ldm_jax.data.table import Row, Table
from ldm_jax.errors import InputError

NAME = re.compile(r"(\d+)_(.+)")
MOST = 10_000  # repeats; more are a date


def read(files: ImageSet) -> Table:
    """The images below folders of such names, as often as the nearest says.

    Raises:
        InputError: there are none, or one says more than MOST.
    """
    texts, rows, used, folders = captions.beside(files), [], [], {}
    for image in files.images:
        inside = image.split("/")[-2::-1]  # folders, the nearest first
        said = next((found for folder in inside if (found := NAME.fullmatch(folder))), None)
        if said is None:
            continue
        path, count = os.path.join(files.root, image), int(said[1])
        if count > MOST:
            raise InputError(
                f"{shown(path)} is in the folder {shown(said[0])}, with {count} repeats: expected "
                f"at most {MOST}; rename the folder, or leave out --data.repeats"
            )
        text = captions.read(files.root / texts[image]) if image in texts else said[2]
        used += [texts[image]] if image in texts else []
        folders.setdefault(said[0], []).append(image)
        rows += [Row(shown(path), path, {"text": text})] * count
    if not rows:
        raise InputError(
            f"{files.root} has no images in folders such as 10_cat: give --data.path the folder "
            "that these are in, or leave out --data.repeats"
        )
    names = ", ".join(map(shown, [*folders][:3])) + ", ..." * (len(folders) > 3)
    count = sum(map(len, folders.values()))
    note = f"{count}, repeated as {names} say"
    return Table(rows, tuple(used), "outside of folders such as 10_cat", note=note)
