"""Two folders of images of the same names: what a ControlNet follows, and what it draws."""

import os

from ldm_jax.data import captions
from ldm_jax.data.image_set import ImageSet, shown
from ldm_jax.data.metadata import nfc
from ldm_jax.data.table import Row, Table

HINTS = {"source", "conditioning_images", "conditioning_image", "conditioning", "control"}
HINTS |= {"hint", "hints", "condition", "conditions"}
DRAWN = {"target", "targets", "images", "image"}


def read(files: ImageSet) -> Table | None:
    """The images of one of two such folders, with those of the other; None for other folders."""
    tops = sorted({image.partition("/")[0] for image in files.images})
    hints = [top for top in tops if top.lower() in HINTS]
    drawn = [top for top in tops if top.lower() in DRAWN]
    if len(tops) != 2 or len(hints) != 1 or len(drawn) != 1:
        return None
    following: dict[str, str] = {}
    for image in reversed(files.images):
        following[_key(image)] = image  # of several the first
    texts, rows, named = captions.beside(files), [], []
    for image in files.images:
        hint = following.get(f"{nfc(hints[0])}/{_key(image).partition('/')[2]}")
        if image.startswith(f"{hints[0]}/") or hint is None:
            continue
        path = os.path.join(files.root, image)
        fields = {"conditioning_image": hint}
        if text := texts.get(image) or texts.get(hint):
            fields["text"] = captions.read(files.root / text)
            named.append(text)
        rows.append(Row(shown(path), path, fields))
    if not rows:
        return None
    note = f"of {drawn[0]}/, with hints in {hints[0]}/"
    return Table(rows, tuple(named), "without a hint of its name", note=note)


def _key(image: str) -> str:
    return nfc(os.path.splitext(image)[0])
