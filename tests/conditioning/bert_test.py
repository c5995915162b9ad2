"""Captions encoded by BERT: padding has no effect, and sentence embeddings have unit length."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import training
from ldm_jax.conditioning.cached import encodings, entry, remembered
from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.encoders.bert import sentence
from ldm_jax.encoders.tokenizers.tokenizer import encode
from ldm_jax.errors import InputError
from tests.support import tiny, tiny_bert


@pytest.fixture(scope="module")
def encoder():
    """The tokenizer, the conditioner, and params -> captions -> Cond."""
    tokenizer = tiny_bert.words(tiny_bert.BERT)
    conditioner = tiny_bert.BERT.build(BuildContext({"tokens": tokenizer}, None))
    params, apply = tiny.drawn(conditioner.init), jax.jit(conditioner.apply)

    def of(*captions, tokenizer=tokenizer):
        return apply(params, {"tokens": np.stack([encode(tokenizer, x) for x in captions])})

    return conditioner, tokenizer, of


def test_a_sentence_is_the_direction_of_the_mean_of_its_words():
    x = jnp.array([[[3.0, 0.0], [0.0, 8.0], [50.0, 50.0]], [[2.0, 2.0], [9.0, 9.0], [9.0, 0.0]]])
    mask = jnp.array([[True, True, False], [True, False, False]])
    expected = [[3 / 73**0.5, 8 / 73**0.5], [0.5**0.5, 0.5**0.5]]
    np.testing.assert_allclose(sentence(x, mask), expected, rtol=1e-6)


def test_what_fills_a_caption_up_is_0_and_not_attended_to(encoder):
    cond = encoder[2]("a red block at the top", "a block")
    words = np.sum(cond.mask, axis=1)
    assert list(words) == [8, 4]
    for tokens, mask in zip(cond.tokens, cond.mask, strict=True):
        assert np.all(np.abs(tokens).max(axis=1) > 0.0) == bool(np.all(mask))
        assert not np.any(tokens[~mask])


def test_an_encoding_does_not_depend_on_how_far_a_caption_is_filled_up(encoder):
    _, tokenizer, of = encoder
    short = of("a red block")
    tokenizer.enable_padding(length=12, pad_id=0)
    tokenizer.enable_truncation(12)
    long = of("a red block", tokenizer=tokenizer)
    tokenizer.enable_padding(length=tiny_bert.BERT.length, pad_id=0)
    tokenizer.enable_truncation(tiny_bert.BERT.length)
    np.testing.assert_allclose(long.tokens[:, : short.tokens.shape[1]], short.tokens, atol=1e-5)
    np.testing.assert_allclose(long.vector, short.vector, atol=1e-5)


def test_the_vector_is_the_sentence_with_numbers_of_size_1(encoder):
    cond = encoder[2]("a red block", "a blue block at the top", "")
    np.testing.assert_allclose(np.mean(np.square(cond.vector), axis=1), 1.0, rtol=1e-5)
    unit = sentence(cond.tokens, cond.mask) * tiny_bert.BERT.dim**0.5
    np.testing.assert_allclose(cond.vector, unit, atol=1e-5)


def test_no_condition_is_the_empty_caption(encoder):
    conditioner, tokenizer, _ = encoder
    null = conditioner.null(2)["tokens"]
    np.testing.assert_array_equal(null, np.stack([encode(tokenizer, "")] * 2))
    assert not conditioner.trained


def test_cached_encodings_are_the_encodings_with_their_mask(encoder):
    conditioner, _, of = encoder
    cond = of("a red block", "a blue block at the top")
    (empty,) = [{slot: np.asarray(x[0]) for slot, x in encodings(of("")).items()}]
    kept = {entry(slot): np.asarray(x, np.float32) for slot, x in encodings(cond).items()}
    keeping = remembered(conditioner, empty)
    found = keeping.apply(None, kept)
    tiny.assert_same(found, cond)
    tiny.assert_same(keeping.apply(None, keeping.null(1)), of(""))


def training_sees(experiment):
    first = training.inherit(experiment.first_stage, experiment.data)
    return replace(experiment, first_stage=first)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"head_dim": 3}, "expected their product to be conditions.0.dim, 8"),
        (
            {"vocab_size": None},
            "conditions.0.vocab_size is None: expected a number, such as 30522",
        ),
        (
            {"length": 17},
            "conditions.0.length is 17: expected at most 16, as conditions.0.positions",
        ),
    ],
)
def test_what_no_bert_can_be_is_refused(changes, message):
    condition = replace(tiny_bert.BERT, **changes)
    with pytest.raises(InputError, match=message):
        training_sees(tiny_bert.experiment(conditions=(condition,))).check()
