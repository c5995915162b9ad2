"""unCLIP's prior equals diffusers' (see `make/prior.py`), and is one backbone among others."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.backbones.prior import PriorTransformer
from ldm_jax.errors import InputError
from ldm_jax.types import Cond
from ldm_jax.weights.names import karlo as names
from ldm_jax.weights.table import shapes, to_here, to_original
from tests.parity import compare
from tests.parity.cases import drawn
from tests.parity.cases import prior_cases as cases
from tests.parity.folders import ARRAYS

SMALL = PriorTransformer(
    channels=cases.HEADS * cases.HEAD_DIM,
    layers=cases.LAYERS,
    num_heads=cases.HEADS,
    length=cases.LENGTH,
    vector_dim=cases.EMBEDDING,
)
TABLE = names.prior(SMALL, cases.EMBEDDING, cases.EMBEDDING, "diffusers")
STATE = drawn.state(shapes(TABLE))
PARAMS = to_here(TABLE, STATE)
BACKBONE = SMALL.build(cases.EMBEDDING, cases.EMBEDDING)
GIVEN = cases.inputs()
COND = Cond(vector=GIVEN["pooled"], tokens=GIVEN["tokens"], mask=GIVEN["mask"])


@jax.jit
def apply(params, x, t, cond):
    return BACKBONE.apply(params, x[:, None, None], t, cond)[:, 0, 0]


def test_output_and_gradient_are_diffusers():
    def energy(params):
        y = apply(params, GIVEN["x"], GIVEN["t"], COND)
        return jnp.sum(jnp.square(y)), y

    with np.load(ARRAYS / "prior.npz") as stored, jax.default_matmul_precision("highest"):
        gradient, y = jax.grad(energy, has_aux=True)(PARAMS)
        assert compare.errors(y, stored["y"])[1] < 5e-6
        assert compare.errors(gradient["query"], stored["query"][0, 0])[1] < 2e-5


def test_names_go_both_ways():
    back = to_original(TABLE, PARAMS)
    assert back.keys() == STATE.keys()
    assert all(np.array_equal(back[key], STATE[key]) for key in STATE)
    original = names.prior(SMALL, cases.EMBEDDING, cases.EMBEDDING, "original")
    theirs = to_original(original, PARAMS)
    fused, split = (
        theirs["transformer.resblocks.0.attn.c_qkv.weight"],
        "transformer_blocks.0.attn1.to_",
    )
    each = [
        STATE[f"{split}{name}.weight"].reshape(cases.HEADS, cases.HEAD_DIM, -1) for name in "qkv"
    ]
    np.testing.assert_array_equal(fused, np.stack(each, axis=1).reshape(fused.shape))
    again = to_here(original, theirs)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, PARAMS))
    cond = jax.tree.map(lambda x: x[:1], COND)
    drawn_shapes = jax.eval_shape(BACKBONE.init, jax.random.key(0), cond)
    assert jax.tree.map(np.shape, drawn_shapes) == jax.tree.map(np.shape, PARAMS)


def test_tokens_outside_of_the_mask_do_not_count():
    y = apply(PARAMS, GIVEN["x"], GIVEN["t"], COND)
    changed = np.where(GIVEN["mask"][..., None], GIVEN["tokens"], 7.0)
    np.testing.assert_array_equal(
        apply(PARAMS, GIVEN["x"], GIVEN["t"], COND.replace(tokens=changed)), y
    )
    unmasked = apply(PARAMS, GIVEN["x"], GIVEN["t"], COND.replace(mask=None))
    assert np.abs(unmasked[1] - y[1]).max() > 1e-2


def test_several_conditions_of_an_embedding_are_taken_in_a_row():
    one = jnp.asarray(GIVEN["x"][:1]), jnp.asarray(GIVEN["t"][:1])
    both = apply(PARAMS, *one, COND)
    for i in range(2):
        alone = apply(PARAMS, *one, jax.tree.map(lambda x, i=i: x[i : i + 1], COND))
        np.testing.assert_allclose(both[i], alone[0], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "cond", "message"),
    [
        (SMALL, Cond(), "conditions has no captions with an embedding"),
        (replace(SMALL, length=8), COND, "model.length is 8: expected 9, the tokens"),
        (replace(SMALL, vector_dim=8), COND, "model.vector_dim is 8: expected 24, the width"),
    ],
)
def test_what_is_no_caption_is_refused(settings, cond, message):
    backbone = settings.build(cases.EMBEDDING, cases.EMBEDDING)
    with pytest.raises(InputError, match=message):
        backbone.apply({}, GIVEN["x"][:, None, None], GIVEN["t"], cond)
    with pytest.raises(InputError, match="num_heads is 5: expected a divisor of"):
        replace(SMALL, num_heads=5).check("model.")
