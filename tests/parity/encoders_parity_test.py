"""CLIP's image encoder and DINOv2 equal transformers' (see `make/encoders.py`)."""

import jax
import numpy as np
import pytest

from ldm_jax.extractors import dinov2
from ldm_jax.weights.names import dinov2 as dinov2_names
from ldm_jax.weights.names.dinov2 import apart
from tests.parity import compare
from tests.parity.cases import drawn, encoders
from tests.parity.cases import encoder_cases as cases
from tests.parity.folders import ARRAYS

with np.load(ARRAYS / "encoders.npz") as file:
    STORED = dict(file)
LEARNED = [name for name in STORED if name.startswith(("gradient", "loss", "logits"))]
NAMES = [name for name in STORED if name not in ("positions", "scores", *LEARNED)]


@pytest.fixture(scope="module")
def ours():
    return encoders.outputs(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_transformers(ours, name):
    assert compare.errors(ours[name], STORED[name])[1] < 2e-5
    assert np.abs(STORED[name][0] - STORED[name][1]).max() > 0.1  # of two images


@pytest.fixture(scope="module")
def learned():
    return encoders.learned(LEARNED)


@pytest.mark.parametrize("name", LEARNED)
def test_a_model_learns_and_sorts_as_transformers_has_it(learned, name):
    """The loss of pairs, its gradients, and cosines with classes that have several captions."""
    assert compare.errors(learned[name], STORED[name])[1] < 2e-5


def test_scores_of_images_and_captions_are_those_of_a_whole_model():
    np.testing.assert_allclose(encoders.scores(), STORED["scores"], atol=1e-3)  # of 100


def test_positions_are_interpolated_as_the_authors_do():
    positions = drawn.normal("positions", (1, 1, 1, 37))[0, 0, 0]
    found = dinov2.cubic_weights(37, 16, offset=0.1) @ positions
    np.testing.assert_allclose(found, STORED["positions"][0, 0, 0], atol=1e-5)


def test_weights_of_equal_places_are_the_identity():
    np.testing.assert_allclose(dinov2.cubic_weights(5, 5), np.eye(5), atol=1e-6)


def test_the_authors_file_has_q_k_and_v_fused():
    of = dinov2.Architecture(*cases.DINOV2["dinov2 small"])
    state = encoders.theirs(of)
    fused = {key: w for key, w in state.items() if ".attn.proj" in key or ".attn." not in key}
    for n in range(of.layers):
        for kind in ("weight", "bias"):
            parts = [state[f"blocks.{n}.attn.{name}.{kind}"] for name in ("query", "key", "value")]
            fused[f"blocks.{n}.attn.qkv.{kind}"] = np.concatenate(parts)
    assert fused.keys() != state.keys()
    found = apart(fused)
    assert found.keys() == state.keys()
    for key, w in state.items():
        np.testing.assert_array_equal(found[key], w)


@pytest.mark.parametrize(
    "key", ["encoder.layer.3.attention.attention.key.bias", "encoder.layer.3.attention.k_proj.bias"]
)
def test_both_versions_of_transformers_are_understood(key):
    assert dinov2_names.authors_name(key) == "blocks.3.attn.key.bias"


def test_networks_start_from_shapes_of_their_table():
    of = dinov2.VIT_L14
    init = jax.eval_shape(
        lambda key: dinov2.DINOv2(of).init(key, np.zeros((1, of.size, of.size, 3), "f")),
        jax.random.key(0),
    )
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(init))
    assert count == sum(np.prod(row.shape) * len(row.keys) for row in dinov2_names.dinov2(of))
