"""Captions through two text encoders, against what each of them gives, and in a whole model."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import config as c
from ldm_jax import runs, training
from ldm_jax.conditioning.captions import by_features, by_sequence
from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.encoders.text_encoder import Encoded
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.sampling.generate import make_generate
from ldm_jax.train_step.diffusion import diffusion_objective
from tests.support import tiny

WIDE = c.Text(dim=8, layers=1, num_heads=2, head_dim=4, length=8, vocab_size=64)
SLIM = replace(WIDE, dim=4, num_heads=1, vocab_size=40)
CAPTIONS = [f"a {color} block at the {place}" for color in tiny.COLORS for place in tiny.PLACES]


def parts(settings):
    """Tokenizers, inputs of two captions, and params of the conditioner of these settings."""
    tokenizers = {
        entry: tokens.learn(CAPTIONS, one.vocab_size, one.length)
        for entry, one in settings.text_encoders.items()
    }
    inputs = {
        entry: np.stack([tokens.encode(one, caption) for caption in CAPTIONS[:2]])
        for entry, one in tokenizers.items()
    }
    conditioner = settings.build(BuildContext(tokenizers, None))
    return tokenizers, inputs, conditioner, tiny.drawn(conditioner.init)


def encoded(settings, tokenizers, inputs, params):
    """What each encoder gives by itself."""
    each = zip(settings.encoders, settings.text_encoders, strict=True)
    return [
        one.encoder(tokenizers[entry]).apply(params[f"encoder_{i}"], inputs[entry])
        for i, (one, entry) in enumerate(each)
    ]


def test_tokens_are_joined_by_features_and_pooled_embeddings_as_the_vector():
    settings = c.Captions(encoders=(WIDE, SLIM), join="features", pooled=(1, 0))
    tokenizers, inputs, conditioner, params = parts(settings)
    assert set(inputs) == {"tokens", "tokens_1"} == set(conditioner.keys)
    assert np.any(inputs["tokens"] != inputs["tokens_1"])
    a, b = encoded(settings, tokenizers, inputs, params)
    found = conditioner.apply(params, inputs)
    np.testing.assert_array_equal(found.tokens, np.concatenate([a.tokens, b.tokens], axis=-1))
    vector = np.concatenate([np.mean(b.tokens, axis=1), np.mean(a.tokens, axis=1)], axis=-1)
    np.testing.assert_allclose(found.vector, vector, rtol=1e-5, atol=1e-6)
    assert found.mask is None
    assert found.tokens.shape[-1] == settings.token_width == 12
    assert found.vector.shape[-1] == settings.vector_width == 12


def test_tokens_are_joined_in_sequence_filled_up_with_zeros():
    settings = c.Captions(encoders=(WIDE, replace(SLIM, length=6)), join="sequence")
    tokenizers, inputs, conditioner, params = parts(settings)
    a, b = encoded(settings, tokenizers, inputs, params)
    found = conditioner.apply(params, inputs)
    assert found.tokens.shape == (2, 14, 8)
    np.testing.assert_array_equal(found.tokens[:, :8], a.tokens)
    np.testing.assert_array_equal(found.tokens[:, 8:, :4], b.tokens)
    assert not np.any(found.tokens[:, 8:, 4:])
    assert found.vector is None
    assert found.mask is None


def test_two_by_features_and_a_third_in_sequence():
    settings = c.Captions(encoders=(SLIM, SLIM, WIDE), join=("features", "sequence"))
    tokenizers, inputs, conditioner, params = parts(settings)
    a, b, third = encoded(settings, tokenizers, inputs, params)
    found = conditioner.apply(params, inputs).tokens
    np.testing.assert_array_equal(found[:, :8], np.concatenate([a.tokens, b.tokens], axis=-1))
    np.testing.assert_array_equal(found[:, 8:], third.tokens)


def test_the_empty_caption_is_the_null_of_all():
    settings = c.Captions(encoders=(WIDE, SLIM))
    tokenizers, _, conditioner, _ = parts(settings)
    for entry, ids in conditioner.null(3).items():
        np.testing.assert_array_equal(ids, [tokens.encode(tokenizers[entry], "")] * 3)


def test_what_one_encoder_masks_another_may_count():
    some = jnp.asarray([[True, False]])
    masked, whole = Encoded(jnp.ones((1, 2, 3)), mask=some), Encoded(jnp.ones((1, 2, 3)))
    assert by_features(masked, whole).mask is None
    np.testing.assert_array_equal(by_features(masked, masked).mask, some)
    np.testing.assert_array_equal(by_sequence(masked, whole).mask, [[True, False, True, True]])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoders": ()}, r"encoders is \(\): expected at least one"),
        ({"encoders": (WIDE, replace(SLIM, length=6))}, "encoders.1.length is 6: expected 8"),
        ({"join": ("features", "sequence")}, "expected one for all encoders, or 1"),
        ({"pooled": (2,)}, "pooled has 2: expected 0 to 1"),
        ({"encoders": (WIDE, c.CLIPText())}, "encoders.1 is CLIPText: expected encoders of which"),
        ({"encoders": (WIDE, replace(SLIM, pooled=True))}, "encoders.1.pooled is True"),
        ({"pooled": (0,)}, "model.vector_dim|conditions.0.dim is 8"),
    ],
)
def test_what_cannot_be_joined_is_refused(changes, said):
    settings = c.Captions(**{"encoders": (WIDE, SLIM), **changes})
    experiment = tiny.experiment(None, conditions=(settings,))
    first = training.inherit(experiment.first_stage, experiment.data)
    with pytest.raises(InputError, match=said):
        replace(experiment, first_stage=first).check()


def test_a_model_of_two_encoders_is_trained_and_drawn_from(image_folder, tmp_path):
    settings = c.Captions(encoders=(WIDE, SLIM), pooled=(0, 1), drop=0.5)
    base = tiny.experiment(image_folder, conditions=(settings,))
    first = c.FirstStageExperiment(model=c.Pixels())
    model, train = replace(base.model, vector_dim=12), replace(base.train, steps=2)
    run = tmp_path / "run"
    training.train(replace(base, first_stage=first, model=model, train=train), run)
    found = runs.load(run)
    sizes = [found.tokenizers[entry].get_vocab_size() for entry in ("tokens", "tokens_1")]
    assert sizes[0] > sizes[1] == 40
    assert {"tokenizer.json", "tokenizer_1.json"} <= {path.name for path in run.iterdir()}
    asked = found.experiment.sampling
    generate = make_generate(found.model, build_sampler(asked.sampler), tiny.SIZE)
    times, options = sampling.padded_times(asked, found.model.process), sampling.arguments(asked)

    def draw(prompt):
        ids = {entry: tokens.encode(one, prompt)[None] for entry, one in found.tokenizers.items()}
        return generate(found.params, ids, np.zeros(1, np.uint32), times, 2.0, options)

    a, b = draw(CAPTIONS[0]), draw(CAPTIONS[3])
    assert a.shape == (1, tiny.SIZE, tiny.SIZE, 3)
    assert np.any(np.asarray(a) != np.asarray(b))


@pytest.mark.parametrize("frozen", [True, False])
def test_clips_text_encoder_is_frozen_or_trains_with_the_denoiser(frozen):
    text = c.CLIPText(dim=8, layers=1, num_heads=2, head_dim=4, length=8, frozen=frozen)
    experiment = tiny.experiment(None, conditions=(text,))
    model = experiment.build({"tokens": tokens.learn(CAPTIONS, 64, text.length)})
    trained = diffusion_objective(model, c.DiffusionLoss(), 0.0, 4).trained
    assert trained == (("denoiser",) if frozen else ("denoiser", "conditioner"))
