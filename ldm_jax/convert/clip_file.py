"""Files of whole CLIP models: transformers', OpenCLIP's and OpenAI's."""

import hashlib
import re
from pathlib import Path

import numpy as np

from ldm_jax.clip.model import CLIP
from ldm_jax.convert.clip import both_towers
from ldm_jax.convert.extractors import MOST_NAMED, Weights
from ldm_jax.convert.table import complaints, to_here
from ldm_jax.convert.weights import read_weights
from ldm_jax.errors import InputError

NAMES = (  # in folders
    "model.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
# the temperature of training, counters, and the sizes that OpenAI's files hold
UNUSED = re.compile(
    r"logit_scale|logit_bias|.*position_ids|attn_mask|input_resolution|context_length|vocab_size"
)


def load_clip(name: str, of: CLIP, path: str | Path) -> Weights:
    """The weights of both towers in a file, or in the file of a folder.

    Raises:
        InputError: no such file, or another network's.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        inside = [path / each for each in NAMES if (path / each).is_file()]
        if not inside:
            raise InputError(f"--weights '{path}' is a folder without any of {', '.join(NAMES)}")
        path = inside[0]
    state = read_weights(path)
    keys = [key for key in state if not UNUSED.fullmatch(key)]
    layout = "openclip" if any(key.startswith("visual.") for key in keys) else "transformers"
    table = both_towers(of, layout)
    wrong = complaints(table, {key: np.shape(state[key]) for key in keys})
    if wrong:
        more = len(wrong) - MOST_NAMED
        shown = "; ".join(wrong[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
        raise InputError(f"{path}: not the weights of CLIP {name}: {shown}")
    params = to_here(table, {key: np.array(state[key], np.float32) for key in keys})
    with path.open("rb") as opened:
        return Weights(params, path, hashlib.file_digest(opened, "sha256").hexdigest())
