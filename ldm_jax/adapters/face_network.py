"""The network by which an image of a face becomes an embedding: dlib's, in face-api's file."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from ldm_jax.errors import InputError
from ldm_jax.extractors import dlib_face
from ldm_jax.types import Params
from ldm_jax.weights.formats.tfjs import read_tfjs


def embedded(face: np.ndarray, file: str | None) -> np.ndarray:
    """The embedding [128] of a face uint8 [150, 150, 3].

    Raises:
        InputError: the file is not named, or not the network's.
    """
    if file is None:
        raise InputError(
            "adapter.network_file is not set: expected model/face_recognition_model-"
            "weights_manifest.json of npm's @vladmandic/face-api, with its .bin beside it"
        )
    with jax.ensure_compile_time_eval():  # also where a program is traced
        return np.asarray(dlib_face.embedded(_params(file), jnp.float32(face[None]))[0])


@functools.cache
def _params(file: str) -> Params:
    found = read_tfjs(file)
    if "conv256_down_out/conv2/conv/filters" not in found or found["fc"].shape[1] != dlib_face.DIM:
        raise InputError(f"'{file}' begins with {next(iter(found))}: expected dlib's face network")
    return jax.tree.map(jnp.asarray, unflatten_dict(found, sep="/"))
