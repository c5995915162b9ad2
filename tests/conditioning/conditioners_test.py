"""Conditioners: inputs to what the denoiser is told, and what stands for nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from ldm_jax.conditioning.label import label
from ldm_jax.conditioning.text import TextTransformer, text
from ldm_jax.conditioning.unconditional import unconditional

EMPTY = np.array([2, 3, 0, 0], np.int32)
TRANSFORMER = TextTransformer(vocab_size=11, dim=8, layers=1, heads=2, head_dim=4, length=4)
CONDITIONERS = {
    "label": (label(3, dim=8), {"label": jnp.array([0, 2], jnp.int32)}),
    "text": (text(TRANSFORMER, EMPTY), {"tokens": jnp.array([[2, 5, 3, 0], [2, 6, 7, 3]])}),
    "unconditional": (unconditional(), {}),
}


@pytest.fixture(scope="module", params=CONDITIONERS, name="case")
def _case(request):
    conditioner, inputs = CONDITIONERS[request.param]
    return conditioner, inputs, tiny.drawn(conditioner.init), jax.jit(conditioner.apply)


def test_a_conditioner_names_its_inputs_and_the_width_of_its_tokens(case):
    conditioner, inputs, params, apply = case
    assert set(conditioner.keys) == inputs.keys()
    tokens = apply(params, inputs).tokens
    assert (tokens is None) == (conditioner.dim == 0)
    if tokens is not None:
        assert tokens.shape[0] == 2
        assert tokens.shape[2] == conditioner.dim


def test_the_null_looks_like_any_input(case):
    conditioner, inputs, params, apply = case
    null = conditioner.null(2)
    form = jax.tree.map(lambda x: (x.shape, x.dtype), inputs)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), null) == form
    for name, rows in null.items():
        np.testing.assert_array_equal(rows[0], rows[1])
        assert not np.array_equal(rows, inputs[name])
    assert jax.tree.map(jnp.shape, apply(params, null)) == jax.tree.map(
        jnp.shape, apply(params, inputs)
    )


def test_each_class_and_the_lack_of_one_have_a_token_each():
    conditioner, _ = CONDITIONERS["label"]
    params = conditioner.init(jax.random.key(0))
    tokens = conditioner.apply(params, {"label": jnp.arange(4)}).tokens
    assert tokens.shape == (4, 1, 8)
    np.testing.assert_array_equal(tokens[:, 0], params["embedding"])
    assert conditioner.null(5)["label"].tolist() == [3] * 5


def test_the_null_of_text_is_the_empty_caption():
    conditioner, _ = CONDITIONERS["text"]
    np.testing.assert_array_equal(conditioner.null(3)["tokens"], [EMPTY] * 3)


def test_a_text_token_hears_every_other_and_its_place():
    params, apply = tiny.drawn(TRANSFORMER.init, EMPTY[None]), jax.jit(TRANSFORMER.apply)
    tokens = jnp.array([[2, 5, 6, 3]])
    y = apply(params, tokens)
    assert jnp.min(jnp.max(jnp.abs(y - apply(params, tokens.at[0, 3].set(4))), axis=2)) > 1e-4
    swapped = apply(params, tokens[:, jnp.array([0, 2, 1, 3])])
    assert jnp.max(jnp.abs(swapped[:, jnp.array([0, 2, 1, 3])] - y)) > 1e-3
