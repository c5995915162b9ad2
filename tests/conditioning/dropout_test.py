"""Hiding conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.conditioning.compose import compose
from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.conditioning.dropout import drop
from ldm_jax.config import Label, LowResolution, Text
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.types import Cond, Conditioner
from tests.support import tiny

N = 1000
EMPTY = np.array([2, 3, 0], np.int32)
CONTEXT = BuildContext({"tokens": tokens.learn(["ab"], 9, 3)}, None)
CONDITIONERS = {
    "label": (Label(4, 8).build(CONTEXT), {"label": jnp.arange(N) % 4}),
    "text": (
        Text(8, layers=1, num_heads=1, head_dim=8, length=3).build(CONTEXT),
        {"tokens": jnp.full((N, 3), 7)},
    ),
    "unconditional": (compose([]), {}),
}
every_conditioner = pytest.mark.parametrize(
    ("conditioner", "inputs"), CONDITIONERS.values(), ids=CONDITIONERS
)


@every_conditioner
def test_rate_zero_drops_nothing_and_rate_one_everything(conditioner, inputs):
    tiny.assert_same(drop(conditioner, inputs, tiny.keys(N), 0.0), inputs)
    tiny.assert_same(drop(conditioner, inputs, tiny.keys(N), 1.0), conditioner.null(N))


def test_examples_are_dropped_whole_and_as_often_as_requested():
    conditioner, inputs = CONDITIONERS["text"]
    found = np.asarray(drop(conditioner, inputs, tiny.keys(N), 0.3)["tokens"])
    hidden = np.all(found == EMPTY, axis=1)
    assert np.all(found[~hidden] == 7)
    assert abs(hidden.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / N)


def test_entries_may_be_dropped_by_themselves_one_of_them_at_a_time():
    inputs = {"text": jnp.ones((N, 2)), "image": jnp.ones((N, 3))}
    conditioner = Conditioner(
        apply=lambda params, inputs: Cond(),
        null=lambda n, h=1, w=1: {"text": jnp.zeros((n, 2)), "image": jnp.zeros((n, 3))},
        keys=("text", "image"),
    )
    apart = {("image",): 0.2, ("text",): 0.3}
    found = drop(conditioner, inputs, tiny.keys(N), 0.1, apart=apart)
    text, image = (1 - np.mean(found[name], axis=1) for name in ("text", "image"))
    shares = {
        "both": (text * image, 0.1),
        "image": ((1 - text) * image, 0.9 * 0.2),
        "text": (text * (1 - image), 0.9 * 0.3),
    }
    for name, (share, expected) in shares.items():
        assert abs(share.mean() - expected) < 4 * np.sqrt(expected / N), name


def test_a_dropped_image_has_the_size_of_the_latents():
    conditioner = LowResolution().build(CONTEXT)
    inputs = {"low_resolution": jnp.ones((N, 2, 3, 3))}
    found = drop(conditioner, inputs, tiny.keys(N), 0.3, (2, 3))["low_resolution"]
    assert sorted(np.unique(jnp.mean(found, (1, 2, 3)))) == [0.0, 1.0]


def test_an_examples_key_alone_decides():
    conditioner, inputs = CONDITIONERS["label"]
    keys = tiny.keys(N)
    found = drop(conditioner, inputs, keys, 0.5)["label"]
    order = jax.random.permutation(jax.random.key(1), N)[:100]
    some = {"label": inputs["label"][order]}
    np.testing.assert_array_equal(drop(conditioner, some, keys[order], 0.5)["label"], found[order])


def test_entries_that_the_conditioner_does_not_read_are_left_out():
    conditioner, inputs = CONDITIONERS["label"]
    batch = {**inputs, "image": jnp.zeros((N, 1))}
    assert drop(conditioner, batch, tiny.keys(N), 0.5).keys() == {"label"}
