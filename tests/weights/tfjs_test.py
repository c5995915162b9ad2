"""Weights of tensorflow.js: a manifest and its shards."""

import json

import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.weights.formats.tfjs import read_tfjs


def write(folder, data: bytes):
    """A quantized array and a plain one, in two shards."""
    how = {"dtype": "uint8", "scale": 0.5, "min": -1.25}
    weights = [{"name": "a/b", "shape": [2, 2], "dtype": "float32", "quantization": how}]
    weights += [{"name": "c", "shape": [2], "dtype": "float32"}]
    manifest = [{"weights": weights, "paths": ["one.bin", "two.bin"]}]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "one.bin").write_bytes(data[:3])
    (folder / "two.bin").write_bytes(data[3:])
    return folder / "manifest.json"


DATA = bytes([0, 1, 2, 255]) + np.float32([7, -8]).tobytes()


def test_quantized_numbers_are_a_scale_and_the_least(tmp_path):
    found = read_tfjs(write(tmp_path, DATA))
    np.testing.assert_array_equal(found["a/b"], [[-1.25, -0.75], [-0.25, 126.25]])
    np.testing.assert_array_equal(found["c"], [7, -8])
    assert found["a/b"].dtype == np.float32


@pytest.mark.parametrize(
    ("data", "fragment"),
    [(DATA + b"x", "names 12 bytes, and its shards have 13"), (DATA[:-1], "cannot be read (")],
)
def test_shards_of_another_size_are_refused(data, fragment, tmp_path):
    with pytest.raises(InputError) as error:
        read_tfjs(write(tmp_path, data))
    assert fragment in str(error.value)
