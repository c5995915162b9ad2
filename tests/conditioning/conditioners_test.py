"""Conditioners: inputs to the denoiser's conditions, and unconditional inputs."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import config as c
from ldm_jax.conditioning.compose import build
from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.conditioning.inpainting import hide
from ldm_jax.conditioning.layout import tokens_of
from ldm_jax.encoders.tokenizers import tokenizer as tokenizers
from ldm_jax.encoders.transformer import TextTransformer
from tests.support import tiny

EMPTY = np.array([2, 3, 0, 0], np.int32)
SIZES = {"dim": 8, "layers": 1, "num_heads": 2, "head_dim": 4}
TEXT = c.Text(**SIZES, length=4, vocab_size=11)
TRANSFORMER = TextTransformer(TEXT, TEXT.vocab_size)
PLACED = jnp.array([[[0, 0, 0.5, 1, 3], [-1] * 5], [[0.25, 0.5, 0.5, 0.25, 0], [0, 0, 1, 1, 1]]])
CLASSES = jnp.arange(2 * 8 * 8, dtype=jnp.int32).reshape(2, 8, 8) % 5
NOISE = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
STAGE = tiny.experiment().first_stage.model.build()
CONTEXT = BuildContext({"tokens": tokenizers.learn(["abcdefg"], 11, 4)}, STAGE)
CONDITIONS = {
    "label": ((c.Label(3, dim=8),), {"label": jnp.array([0, 2], jnp.int32)}),
    "text": ((TEXT,), {"tokens": jnp.array([[2, 5, 3, 0], [2, 6, 7, 3]])}),
    "unconditional": ((), {}),
    "layout": ((c.Layout(**SIZES, max_objects=2, vocab_size=27),), {"boxes": PLACED}),
    "semantic map": ((c.SemanticMap(5, stages=1),), {"segmentation": CLASSES}),
    "low resolution": ((c.LowResolution(),), {"low_resolution": NOISE}),
    "retrieval": ((c.Retrieval(dim=3),), {"neighbours": NOISE[:, 0]}),
}
CONDITIONERS = {
    name: (build(conditions, CONTEXT), inputs) for name, (conditions, inputs) in CONDITIONS.items()
}


@pytest.fixture(scope="module", params=CONDITIONERS, name="case")
def _case(request):
    conditioner, inputs = CONDITIONERS[request.param]
    return conditioner, inputs, tiny.drawn(conditioner.init), jax.jit(conditioner.apply)


@pytest.mark.parametrize("name", CONDITIONERS)
def test_a_condition_knows_the_inputs_of_its_conditioner_and_the_width_of_its_tokens(name):
    (conditioner, inputs), (conditions, _) = CONDITIONERS[name], CONDITIONS[name]
    assert set(conditioner.keys) == inputs.keys()
    assert {entry for one in conditions for entry in one.reads} == inputs.keys()
    tokens = jax.eval_shape(
        lambda key: conditioner.apply(conditioner.init(key), inputs), jax.random.key(0)
    ).tokens
    width = next((one.token_width for one in conditions), None)
    assert (tokens is None) == (width is None)
    if tokens is not None:
        assert (tokens.shape[0], tokens.shape[2]) == (2, width)


def test_the_null_looks_like_any_input(case):
    conditioner, inputs, params, apply = case
    null = conditioner.null(2, 4, 4)
    form = jax.tree.map(lambda x: (x.shape, x.dtype), inputs)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), null) == form
    for name, rows in null.items():
        np.testing.assert_array_equal(rows[0], rows[1])
        assert not np.array_equal(rows, inputs[name])
    assert jax.tree.map(jnp.shape, apply(params, null)) == jax.tree.map(
        jnp.shape, apply(params, inputs)
    )


def test_a_pooled_caption_is_the_mean_of_its_tokens_next_to_them():
    pooled = build((replace(TEXT, pooled=True),), CONTEXT)
    params, inputs = tiny.drawn(pooled.init), CONDITIONERS["text"][1]
    cond = pooled.apply(params, inputs)
    np.testing.assert_allclose(cond.vector, np.mean(cond.tokens, axis=1), rtol=1e-6)
    alone = CONDITIONERS["text"][0].apply(params, inputs)
    assert alone.vector is None
    np.testing.assert_array_equal(alone.tokens, cond.tokens)


def test_each_class_and_the_lack_of_one_have_a_token_each():
    conditioner, _ = CONDITIONERS["label"]
    params = conditioner.init(jax.random.key(0))
    tokens = conditioner.apply(params, {"label": jnp.arange(4)}).tokens
    assert tokens.shape == (4, 1, 8)
    np.testing.assert_array_equal(tokens[:, 0], params["embedding"])
    assert conditioner.null(5)["label"].tolist() == [3] * 5


def test_a_label_may_be_a_vector():
    vector = build((c.Label(3, dim=8, slot="vector"),), CONTEXT)
    params = vector.init(jax.random.key(0))
    cond = vector.apply(params, {"label": jnp.array([3, 1])})
    assert cond.tokens is None
    np.testing.assert_array_equal(cond.vector, params["embedding"][jnp.array([3, 1])])


def test_without_a_null_there_is_an_entry_a_class():
    conditioner = build((c.Label(3, dim=8, null=False),), CONTEXT)
    assert conditioner.init(jax.random.key(0))["embedding"].shape == (3, 8)


def test_the_null_of_text_is_the_empty_caption():
    conditioner, _ = CONDITIONERS["text"]
    np.testing.assert_array_equal(conditioner.null(3)["tokens"], [EMPTY] * 3)


def test_a_text_token_attends_to_every_other_and_its_place():
    params, apply = tiny.drawn(TRANSFORMER.init, EMPTY[None]), jax.jit(TRANSFORMER.apply)
    tokens = jnp.array([[2, 5, 6, 3]])
    y = apply(params, tokens)
    assert jnp.min(jnp.max(jnp.abs(y - apply(params, tokens.at[0, 3].set(4))), axis=2)) > 1e-4
    swapped = apply(params, tokens[:, jnp.array([0, 2, 1, 3])])
    assert jnp.max(jnp.abs(swapped[:, jnp.array([0, 2, 1, 3])] - y)) > 1e-3


def test_a_box_is_its_class_and_two_corners_on_a_grid_and_the_last_token_means_none():
    boxes = jnp.array([[[0.0, 0.0, 1.0, 1.0, 7], [0.5, 0.26, 0.125, 0.5, 2], [0, 0, 0, 0, -1]]])
    found = tokens_of(boxes, 100)  # 10 x 10 places, from 0 to 9
    row, column = 10, 1
    second = [2, 2 * row + 4 * column, 7 * row + 6 * column]  # 4.5 and 5.625; 2.34 and 6.84
    assert found.tolist() == [[7, 0, 99, *second, 99, 99, 99, 0, 99]]
    assert found.dtype == jnp.int32


def test_the_originals_layouts_have_92_tokens_of_90_rows():
    boxes = jnp.full((1, 30, 5), -1.0).at[0, 0].set(jnp.array([0.0, 0.0, 1.0, 1.0, 0]))
    tokens = tokens_of(boxes, 8192)
    assert tokens.shape == (1, 92)
    assert tokens[0, :4].tolist() == [0, 0, 90 * 90 - 1, 8191]


def test_a_box_that_leaves_the_image_ends_at_its_border():
    inside, outside = ([[[0.5, 0.0, 0.5, 1.0, 1]]], [[[0.5, -0.5, 2.0, 2.0, 1]]])
    np.testing.assert_array_equal(
        *(tokens_of(jnp.array(b, jnp.float32), 100) for b in (inside, outside))
    )


def test_a_semantic_map_is_the_originals_halved_one_hot_planes():
    conditioner, inputs = CONDITIONERS["semantic map"]
    params = tiny.drawn(conditioner.init)
    planes = jax.nn.one_hot(CLASSES, 5)  # [2, 8, 8, 5]
    halved = jax.image.resize(planes, (2, 4, 4, 5), "linear", antialias=False)
    expected = halved @ params["classes"]["kernel"]
    np.testing.assert_allclose(conditioner.apply(params, inputs).concat, expected, atol=1e-6)
    np.testing.assert_array_equal(conditioner.apply(params, conditioner.null(2, 4, 4)).concat, 0.0)


def test_inpainting_shows_latents_of_what_is_left_and_where_something_is_missing():
    conditioner, params = build((c.Inpainting(),), CONTEXT), tiny.drawn(STAGE.init)
    image = jax.random.uniform(jax.random.key(1), (2, 8, 8, 3), minval=-1.0)
    mask = jnp.zeros((2, 8, 8, 1)).at[0, 2:5, 4:].set(1.0)
    tell = jax.jit(lambda inputs: conditioner.apply({}, conditioner.encode(params, inputs)))
    cond = tell({"image": image, "mask": mask}).concat
    assert cond.shape == (2, 4, 4, STAGE.channels + 1)
    np.testing.assert_array_equal(
        cond[0, :, :, -1], [[-1] * 4, [-1, -1, 1, 1], [-1, -1, 1, 1], [-1] * 4]
    )
    np.testing.assert_array_equal(cond[1, :, :, -1], -1.0)
    # whatever the mask hides cannot be seen
    other = image.at[0, 2:5, 4:].set(0.3)
    np.testing.assert_array_equal(tell({"image": other, "mask": mask}).concat, cond)
    assert jnp.all(hide(image, mask)[0, 2:5, 4:] == -1.0)
    seen = tell({"image": image.at[0, 0, 0].set(1.0), "mask": mask}).concat
    assert jnp.max(jnp.abs(seen - cond)) > 1e-3
    hidden = tell(conditioner.null(2, 4, 4)).concat
    np.testing.assert_array_equal(
        hidden, tell({"image": image, "mask": jnp.ones_like(mask)}).concat
    )
