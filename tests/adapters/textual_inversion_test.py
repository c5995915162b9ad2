"""Textual inversion: what its vectors do, what trains of them, and which files fit a base."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.adapters.adapter import merged
from ldm_jax.adapters.settings import Base
from ldm_jax.adapters.textual_inversion import TextualInversion, learned
from ldm_jax.config import Captions, CLIPText, Experiment, Label
from ldm_jax.encoders.tokenizers import clip, words
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.weights.formats.files import read_weights
from tests.support import tiny

CAPTIONS = ["a large red circle at the top", "a small blue square"]
LENGTH, DIM = 8, 6
TEXT = CLIPText(dim=DIM, layers=1, num_heads=2, head_dim=3, length=LENGTH, vocab_size=600)
WORD = TextualInversion(token="<toy>", vectors=2)
DRAWN = jax.random.normal(jax.random.key(3), (2, DIM))
OWN = {"tokens": {"vectors": DRAWN}}


@functools.cache
def clip_base() -> tuple[Base, dict]:
    """A model of captions through CLIP, also pooled, and its conditioner's params."""
    experiment = Experiment(conditions=(Captions(encoders=(TEXT,), pooled=(0,)),))
    tokenizers = {"tokens": clip.learn(CAPTIONS, 600, LENGTH, "openai")}
    model = experiment.build(tokenizers)
    return Base(experiment, model, tokenizers), {"conditioner": tiny.drawn(model.conditioner.init)}


@functools.cache
def learned_base() -> tuple[Base, dict]:
    """A model of captions whose encoder and tokenizer were learned."""
    model, params, tokenizer = tiny.model(tiny.experiment())
    return Base(tiny.experiment(), model, {"tokens": tokenizer}), params


def start(base, config, params):
    """The vectors with which training begins."""
    return config.build(config.read(base)).init(jax.random.key(0), params)


def encoded(base, config, own, params, prompt):
    """The condition of a prompt, with the adapter."""
    base = config.read(base)
    ids = jnp.asarray(tokens.encode(base.tokenizers["tokens"], prompt)[None])
    whole = {**params, "adapters": {"word": own}}
    return base.model.condition(merged({"word": config.build(base)}, whole), {"tokens": ids})


def test_vectors_take_the_places_of_the_word():
    """As if the vectors were those of words that there are, and pooled at the end mark."""
    base, params = clip_base()
    tokenizer, table = base.tokenizers["tokens"], params["conditioner"]["encoder_0"]["token"]
    found = encoded(base, WORD, OWN, params, "a <toy> circle")
    places = jnp.asarray([words.pieces(tokenizer, text)[0] for text in ("top", "square")])
    changed = table["embedding"].at[places].set(DRAWN)
    encoder = {**params["conditioner"]["encoder_0"], "token": {"embedding": changed}}
    ids = jnp.asarray(tokens.encode(tokenizer, "a top square circle")[None])
    expected = base.model.condition({"conditioner": {"encoder_0": encoder}}, {"tokens": ids})
    tiny.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    other = encoded(base, WORD, {"tokens": {"vectors": -DRAWN}}, params, "a <toy> circle")
    assert jnp.max(jnp.abs(other.vector - found.vector)) > 1e-3


def test_other_prompts_stay_as_they_are():
    for base, params in (clip_base(), learned_base()):
        ids = jnp.asarray(tokens.encode(base.tokenizers["tokens"], CAPTIONS[0])[None])
        plain = base.model.condition(params, {"tokens": ids})
        own = jax.tree.map(jnp.ones_like, start(base, WORD, params))
        tiny.assert_same(encoded(base, WORD, own, params, CAPTIONS[0]), plain)


def test_several_words_are_independent_of_their_order():
    base, params = learned_base()
    a, b = WORD, TextualInversion(token="sks")
    base = b.read(a.read(base))
    adapters = {"a": a.build(base), "b": b.build(base)}
    dim = params["conditioner"]["token"]["embedding"].shape[1]
    own = {
        "a": {"tokens": {"vectors": jnp.ones((2, dim))}},
        "b": {"tokens": {"vectors": jnp.full((1, dim), 3.0)}},
    }
    whole = {**params, "adapters": own}
    one = merged(adapters, whole, {"b": 0.5})
    two = merged({"b": adapters["b"], "a": adapters["a"]}, whole, {"b": 0.5})
    tiny.assert_same(one["conditioner"], two["conditioner"])
    more = one["conditioner"]["token"]["embedding"][-3:]
    np.testing.assert_array_equal(more[:, 0], [1.0, 1.0, 1.5])


def test_vectors_begin_as_the_initial_words_spread_over_them():
    base, params = learned_base()
    red, block = (words.pieces(base.tokenizers["tokens"], x)[0] for x in ("red", "block"))
    table = params["conditioner"]["token"]["embedding"]
    config = TextualInversion("<toy>", initial="red block", vectors=3)
    own = start(base, config, params)["tokens"]["vectors"]
    np.testing.assert_array_equal(own, table[jnp.asarray([red, red, block])])
    drawn = start(base, replace(config, initial=""), params)
    assert jnp.std(drawn["tokens"]["vectors"]) > 0


def test_the_vectors_alone_train_and_may_keep_their_norms():
    base, params = clip_base()
    for config in (WORD, replace(WORD, keep_norm=True, initial="red")):
        own = start(base, config, params)
        vectors = learned(own["tokens"])

        def loss(own, config=config):
            found = encoded(base, config, own, params, "a <toy> circle")
            return jnp.sum(jnp.sin(found.tokens[:, 1:5])) + jnp.sum(found.vector)

        step = jax.grad(loss)(own)
        moved = learned(jax.tree.map(lambda x, g: x - 0.3 * g, own, step)["tokens"])
        assert jnp.min(jnp.max(jnp.abs(moved - vectors), axis=1)) > 1e-3
        before, after = (jnp.linalg.norm(x, axis=1) for x in (vectors, moved))
        assert np.allclose(before, after, rtol=1e-5) == config.keep_norm


def test_files_fit_bases_of_their_width():
    base, _ = clip_base()
    config, own = TextualInversion.of_file({"<toy>": np.asarray(DRAWN)}, {}, base)
    assert config == WORD
    tiny.assert_same(own, OWN)
    arrays, metadata = config.to_file(own, base)
    tiny.assert_same(arrays, {"<toy>": DRAWN})
    assert metadata == {"format": "pt"}
    named, _ = TextualInversion.of_file({"emb_params": np.asarray(DRAWN)}, {}, base)
    assert named.named("kohya-2").token == "kohya-2"
    assert TextualInversion.of_file({"a.weight": np.asarray(DRAWN)}, {}, base) is None
    wide = r"the vectors .* 1024 \(Stable Diffusion 2\) wide: expected 6, as the base has them"
    with pytest.raises(InputError, match=wide):
        TextualInversion.of_file({"<toy>": np.ones((2, 1024))}, {}, base)
    first = base._replace(experiment=Experiment(conditions=(CLIPText(),)))
    with pytest.raises(InputError, match=r"wide: expected 768 \(Stable Diffusion 1\), as the"):
        TextualInversion.of_file({"<toy>": np.ones((2, 1024))}, {}, first)


@pytest.mark.parametrize("name", ["word.safetensors", "word.pt"])
def test_files_for_diffusers_and_automatic1111_come_back(name, tmp_path):
    base, _ = clip_base()
    WORD.write(tmp_path / name, OWN, base)
    found = read_weights(tmp_path / name)
    config, own = TextualInversion.of_file(found, found.metadata, base)
    assert config == WORD
    tiny.assert_same(own, OWN)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TextualInversion(), r"adapter.token is None: expected a new word, such as '<toy>'"),
        (TextualInversion("red"), r"adapter.token is 'red', which is a word of the base already"),
        (TextualInversion("a b"), r"adapter.token is 'a b': expected a word without spaces"),
        (TextualInversion("<x>", vectors=7), r"adapter.vectors is 7: expected at most 6"),
        (TextualInversion("<x>", "ß"), r"adapter.initial is 'ß': expected words that the base"),
    ],
)
def test_what_does_not_go_with_a_base(config, message):
    with pytest.raises(InputError, match=message):
        config.check(learned_base()[0])


def test_a_word_is_added_once():
    base = WORD.read(learned_base()[0])
    WORD.check(base)  # which knows it from this adapter
    with pytest.raises(InputError, match="'<toy>', which is a word of the base already"):
        WORD.read(base)


def test_an_existing_word_is_replaced_where_that_is_asked_for():
    base, params = learned_base()
    config = TextualInversion("red", existing=True)
    config.check(base)
    table = params["conditioner"]["token"]["embedding"]
    blue = table[words.pieces(base.tokenizers["tokens"], "blue")[0]]
    own = {"tokens": {"vectors": blue[None]}}
    found = encoded(base, config, own, params, "a red block")
    ids = jnp.asarray(tokens.encode(base.tokenizers["tokens"], "a blue block")[None])
    tiny.assert_close(found, base.model.condition(params, {"tokens": ids}), rtol=1e-6, atol=1e-6)


def test_a_base_without_captions_has_no_words():
    base = Base(Experiment(conditions=(Label(num_classes=3),)), None, {})
    with pytest.raises(InputError, match="expected a base with a text encoder"):
        WORD.check(base)
