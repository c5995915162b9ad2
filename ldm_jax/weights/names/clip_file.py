"""Files of whole CLIP models: transformers', OpenCLIP's and OpenAI's."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from ldm_jax.encoders.clip.model import CLIP, MODELS, TextArchitecture
from ldm_jax.encoders.clip.vision import Architecture
from ldm_jax.errors import InputError
from ldm_jax.settings import at_home
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.names.clip import both_encoders
from ldm_jax.weights.names.extractors import Weights, with_digest
from ldm_jax.weights.table import Shape, State, Table, shapes, to_here

NAMES = (  # in folders
    "model.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
SIZES_THERE = ("input_resolution", "context_length", "vocab_size")  # which OpenAI's files hold

# where the sizes of a model are read: the patches of the image encoder, its positions and the
# projection, the tokens and positions of the text encoder, and the blocks of each
SIZES = {
    "transformers": (
        "vision_model.embeddings.patch_embedding.weight",
        "vision_model.embeddings.position_embedding.weight",
        "visual_projection.weight",
        "text_model.embeddings.token_embedding.weight",
        "text_model.embeddings.position_embedding.weight",
        r"vision_model\.encoder\.layers\.(\d+)\..*",
        r"text_model\.encoder\.layers\.(\d+)\..*",
    ),
    "openclip": (
        "visual.conv1.weight",
        "visual.positional_embedding",
        "visual.proj",
        "token_embedding.weight",
        "positional_embedding",
        r"visual\.transformer\.resblocks\.(\d+)\..*",
        r"transformer\.resblocks\.(\d+)\..*",
    ),
}
HEAD = 64  # channels of a head, where no published model of these sizes has others


def holds_clip(keys: Collection[str]) -> bool:
    """Whether these keys have both encoders."""
    return any(all(key in keys for key in of[:5]) for of in SIZES.values())


def layout_of(keys: Collection[str]) -> str:
    """Whose names the keys of a whole model are: "transformers" or "openclip"."""
    return "openclip" if any(key.startswith("visual.") for key in keys) else "transformers"


def recognised(shapes: Mapping[str, Shape]) -> CLIP:
    """The model of which weights have these shapes, by key.

    Heads leave no trace: they are those of the published model of these sizes, or HEAD wide. Nor
    does the activation, unless it is OpenAI's own file, which holds the sizes as numbers: names of
    OpenCLIP are then taken for its weights, and those of transformers for OpenAI's.
    """
    layout = layout_of(shapes)
    *keys, images, captions = SIZES[layout]
    patches, places, out, pieces, positions = (shapes[key] for key in keys)
    blocks = [
        1 + max((int(found[1]) for key in shapes if (found := re.fullmatch(of, key))), default=-1)
        for of in (images, captions)
    ]
    channels, patch = patches[0], patches[-1]
    size = patch * math.isqrt(places[0] - 1)
    dim = out[1] if layout == "openclip" else out[0]
    theirs = layout == "openclip" and "input_resolution" not in shapes
    vision = Architecture(channels, blocks[0], channels // HEAD or 1, dim, patch, size)
    text = TextArchitecture(pieces[1], blocks[1], pieces[1] // HEAD or 1, positions[0], pieces[0])
    for known in MODELS.values():
        if known.vision._replace(size=size, heads=vision.heads) == vision:
            vision = vision._replace(heads=known.vision.heads)
    return CLIP(vision, text, "openclip" if theirs else "openai")


def find_clip(path: Path) -> Path:
    """The file of weights itself, or that of a folder.

    Raises:
        InputError: a folder without one.
    """
    if not path.is_dir():
        return path
    inside = [path / each for each in NAMES if (path / each).is_file()]
    if not inside:
        raise InputError(f"'{path}' is a folder without any of {', '.join(NAMES)}")
    return inside[0]


def read_encoders(
    of: CLIP, state: State, title: str = "these weights are not of this CLIP"
) -> dict:
    """The params of both encoders, float32; InputError with a title where they are others."""
    return to_here(both_encoders(of, layout_of(state)), state, SIZES_THERE, title)


def read_encoder(
    file: str | Path | None, rows: Callable[[str], Table], what: str, named: str = "file"
) -> dict:
    """The params of one encoder in a file of a CLIP, or in the file of a folder.

    Args:
        rows: layout -> the encoder's, see `clip.captions` and `clip.images`.
        what: it is, for messages.
        named: what the file is called in the settings.

    Raises:
        InputError: none is given, no such file, or another encoder's weights.
    """
    if file is None:
        raise InputError(
            f"{named} is None: expected CLIP's weights, a file, or a folder as scripts/convert.py "
            "makes of a run of a CLIP"
        )
    path = find_clip(at_home(file))
    state = read_weights(path)
    table = rows(layout_of(state))
    own = {key: state[key] for key in shapes(table) if key in state}
    return to_here(table, own, title=f"{path}: not the weights of {what} with these settings")


def load_clip(name: str, of: CLIP, path: str | Path) -> Weights:
    """The weights of both encoders in a file, or in the file of a folder.

    Raises:
        InputError: no such file, or another network's.
    """
    path = find_clip(at_home(path))
    title = f"{path}: not the weights of CLIP {name}"
    return with_digest(read_encoders(of, read_weights(path), title), path)
