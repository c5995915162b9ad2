"""Captions in files next to their images: a.txt or a.caption for a.png."""

import os
from pathlib import Path

from ldm_jax.data.image_set import ImageSet, shown
from ldm_jax.data.metadata import nfc
from ldm_jax.errors import InputError

ENDINGS = (".txt", ".caption")  # of several, the first is read


def beside(files: ImageSet) -> dict[str, str]:
    """Image -> its file with a caption, of those that have one; both relative to the folder."""
    stems = [(*os.path.splitext(file), file) for file in files.others]
    texts = {
        nfc(stem): file
        for kind in reversed(ENDINGS)
        for stem, ending, file in stems
        if ending.lower() == kind
    }
    own = {image: texts.get(nfc(os.path.splitext(image)[0])) for image in files.images}
    return {image: text for image, text in own.items() if text is not None}


def read(file: str | Path) -> str:
    """The caption in a file, in one line.

    Raises:
        InputError: it is no text.
    """
    try:
        return " ".join(Path(file).read_text("utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"caption {shown(file)} cannot be read as UTF-8 text: {error}") from error
