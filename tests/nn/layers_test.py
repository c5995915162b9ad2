"""Layers that several networks share."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.nn.attention import MultiHeadAttention, SpatialSelfAttention, attention
from ldm_jax.nn.embedding import place_embedding, step_embedding
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.resnet import Downsample, ResBlock, halved
from ldm_jax.nn.transformer import SpatialTransformer
from ldm_jax.nn.upsample import doubled
from tests.support import tiny


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def init(module, *inputs):
    return jax.jit(module.init)(jax.random.key(1), *inputs)


def test_attention_is_its_formula():
    """softmax(q k^T / sqrt(d)) v, head by head."""
    q, k, v = normal(2, 5, 3, 4), normal(2, 7, 3, 4, seed=1), normal(2, 7, 3, 4, seed=2)
    found = attention(q, k, v)
    for b in range(2):
        for h in range(3):
            weights = jax.nn.softmax(q[b, :, h] @ k[b, :, h].T / np.sqrt(4), axis=-1)
            np.testing.assert_allclose(found[b, :, h], weights @ v[b, :, h], atol=1e-5)


def test_a_masked_token_is_as_good_as_absent():
    q, k, v = normal(2, 5, 3, 4), normal(2, 7, 3, 4, seed=1), normal(2, 7, 3, 4, seed=2)
    mask = jnp.arange(7) < 4
    found = attention(q, k, v, jnp.tile(mask, (2, 1)))
    np.testing.assert_allclose(found, attention(q, k[:, :4], v[:, :4]), atol=1e-6)


def test_attention_does_not_see_the_order_of_its_context():
    module = MultiHeadAttention(heads=2, head_dim=4)
    x, context = normal(2, 5, 6), normal(2, 7, 3, seed=1)
    params, apply = tiny.drawn(module.init, x, context), jax.jit(module.apply)
    np.testing.assert_allclose(
        apply(params, x, context), apply(params, x, context[:, ::-1]), atol=1e-6
    )


def test_attention_without_context_attends_to_itself():
    module = MultiHeadAttention(heads=2, head_dim=4)
    x = normal(2, 5, 6)
    params, apply = tiny.drawn(module.init, x), jax.jit(module.apply)
    np.testing.assert_array_equal(apply(params, x), apply(params, x, x))


def test_step_embedding_is_cosines_then_sines():
    steps = jnp.array([0, 1, 999])
    found = step_embedding(steps, 8)
    w = 10_000.0 ** (-np.arange(4) / 4)
    angles = np.outer([0, 1, 999], w)
    np.testing.assert_allclose(found, np.hstack([np.cos(angles), np.sin(angles)]), atol=1e-4)
    assert found.dtype == jnp.float32


def test_position_embedding_encodes_row_and_column():
    found = place_embedding(3, 5, 8).reshape(3, 5, 8)
    rows, columns = step_embedding(jnp.arange(3), 4), step_embedding(jnp.arange(5), 4)
    for y in range(3):
        for x in range(5):
            np.testing.assert_array_equal(found[y, x], jnp.concatenate([rows[y], columns[x]]))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm_whitens_each_group_of_neighbouring_channels(groups):
    x = 3.0 * normal(2, 4, 4, 8) + jnp.arange(8)

    class Norm(nn.Module):
        @nn.compact
        def __call__(self, x):
            return group_norm(x, groups, 1e-6, "norm")

    module = Norm()
    y = jax.jit(module.init_with_output)(jax.random.key(0), x)[0].reshape(
        2, 16, groups, 8 // groups
    )
    np.testing.assert_allclose(jnp.mean(y, axis=(1, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(jnp.std(y, axis=(1, 3)), 1.0, atol=1e-4)


IDENTITIES = {
    "ResBlock": (ResBlock(8, 4, 1e-5, zero_init=True), (normal(2, 16),)),
    "SpatialSelfAttention": (SpatialSelfAttention(2, 4, 1e-5, zero_init=True), ()),
    "SpatialTransformer": (SpatialTransformer(2, 4, 1, 4), (normal(2, 3, 5),)),
}


@pytest.mark.parametrize(("module", "given"), IDENTITIES.values(), ids=IDENTITIES)
def test_the_unets_blocks_start_as_the_identity_and_do_not_stay_it(module, given):
    x = normal(2, 4, 4, 8)
    apply = jax.jit(module.apply)
    np.testing.assert_array_equal(apply(init(module, x, *given), x, *given), x)
    moved = apply(tiny.drawn(module.init, x, *given), x, *given)
    assert moved.shape == x.shape
    assert jnp.max(jnp.abs(moved - x)) > 0.1


def test_a_res_block_changes_the_channels_and_attends_to_the_step():
    module = ResBlock(12, 4, 1e-5)
    x, steps = normal(2, 4, 4, 8), normal(2, 16)
    params, apply = tiny.drawn(module.init, x, steps), jax.jit(module.apply)
    y = apply(params, x, steps)
    assert y.shape == (2, 4, 4, 12)
    assert jnp.max(jnp.abs(y - apply(params, x, 2 * steps))) > 1e-3


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (0, 1))])
def test_downsampling_halves(padding):
    module, x = Downsample(padding), normal(2, 8, 6, 3)
    assert jax.eval_shape(module.init_with_output, jax.random.key(0), x)[0].shape == (2, 4, 3, 3)
    middle = jnp.zeros((3, 3, 3, 3)).at[1, 1].set(jnp.eye(3))  # the tap at the window's middle
    params = {"params": {"conv": {"kernel": middle, "bias": jnp.zeros(3)}}}
    offset = 1 - padding[0][0]
    np.testing.assert_array_equal(module.apply(params, x), x[:, offset::2, offset::2])


def test_a_spatial_transformer_attends_to_its_tokens_but_not_the_masked_ones():
    module = SpatialTransformer(2, 4, 1, 4)
    x, tokens = normal(2, 4, 4, 8), normal(2, 3, 5)
    mask = jnp.array([[True, True, False]] * 2)
    params = tiny.drawn(module.init, x, tokens)
    apply = jax.jit(module.apply)
    y = apply(params, x, tokens, mask)
    np.testing.assert_array_equal(y, apply(params, x, tokens.at[:, 2].add(1.0), mask))
    assert jnp.max(jnp.abs(y - apply(params, x, tokens.at[:, 1].add(1.0), mask))) > 1e-3


@pytest.mark.parametrize("positions", [False, True])
def test_only_with_positions_does_a_spatial_transformer_know_where_it_is(positions):
    """Without them, mirroring the image mirrors the output."""
    module = SpatialTransformer(2, 4, 1, 4, positions)
    x, tokens = normal(2, 4, 4, 8), normal(2, 3, 5)
    params, apply = tiny.drawn(module.init, x, tokens), jax.jit(module.apply)
    apart = jnp.max(jnp.abs(apply(params, x[:, ::-1], tokens) - apply(params, x, tokens)[:, ::-1]))
    assert (apart > 0.1) if positions else (apart < 1e-4)


def test_halving_undoes_doubling_and_takes_means():
    x = normal(2, 3, 4, 5)
    np.testing.assert_allclose(halved(doubled(x)), x, rtol=1e-6)
    np.testing.assert_allclose(halved(x[:, :2])[:, 0, 0], jnp.mean(x[:, :2, :2], (1, 2)), rtol=1e-5)


@pytest.mark.parametrize(("resample", "side"), [(None, 4), (halved, 2), (doubled, 8)])
def test_a_residual_block_without_weights_resamples_alone(resample, side):
    x, embedding = normal(2, 4, 4, 8), normal(2, 3)
    module = ResBlock(8, 4, 1e-5, zero_init=True, scale_shift=True, resample=resample)
    y = jax.jit(module.apply)(init(module, x, embedding), x, embedding)
    assert y.shape == (2, side, side, 8)
    np.testing.assert_array_equal(y, resample(x) if resample else x)
