"""Prompts of a request: from a file, weighted, long, by another layer of CLIP."""

from pathlib import Path

import numpy as np
import pytest

from ldm_jax import config, runs, sampling
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.sampling.drawing import inputs_of
from ldm_jax.sampling.view import view
from tests.support import tiny

CLIP = config.CLIPText(dim=8, layers=3, num_heads=2, head_dim=4, length=6, vocab_size=516)


@pytest.fixture(scope="module", name="model")
def _model():
    """A model with CLIP's text encoder, drawn."""
    experiment = tiny.experiment(conditions=(CLIP,))
    made = clip.clip_tokenizer([("a", "b"), ("c", "d</w>")])
    tokenizer = tokens.fit(made, 6, pad=515)
    built = experiment.build({"tokens": tokenizer})
    params = {**tiny.drawn(built.init), "first_stage": tiny.drawn(built.first_stage.init)}
    return runs.Trained(Path("run"), experiment, built, params, {"tokens": tokenizer}, (), 4)


def given(model, prompt, **asked):
    """The tokens that the network attends to, [n, d]."""
    wanted = sampling.resolve(model, num=1, prompt=[prompt], **asked)
    run = view(model)
    reading = wanted.reading.wrap(model.model, wanted, run)
    return np.asarray(reading.condition(model.params, inputs_of(wanted, run)).tokens[0])


def test_weights_and_layers_change_the_conditioning_and_one_is_as_ever(model):
    plain = given(model, "ab cd")
    np.testing.assert_allclose(given(model, "ab (cd:1)", emphasis=True), plain, atol=1e-6)
    np.testing.assert_array_equal(given(model, "ab cd", clip_skip=1), plain)
    assert np.any(np.abs(given(model, "ab (cd:1.6)", emphasis=True) - plain) > 1e-3)
    assert np.any(np.abs(given(model, "ab cd", clip_skip=2) - plain) > 1e-3)


def test_long_prompts_are_read_to_their_end_if_asked_and_else_it_is_said(model):
    first, second = "cd cd cd cd ab", "cd cd cd cd aa"
    np.testing.assert_array_equal(given(model, first), given(model, second))
    asked = sampling.resolve(model, prompt=[first])
    (said,) = asked.reading.describe(asked, view(model))
    assert "tokens of 'cd cd cd cd ab...' 4 are read (--long-prompts reads all)" in said
    whole = given(model, first, long_prompts=True)
    np.testing.assert_array_equal(whole[:6], given(model, second, long_prompts=True)[:6])
    assert np.any(whole[6:] != given(model, second, long_prompts=True)[6:])


@pytest.mark.parametrize(
    "more",
    [
        {"prompt": ["cd"], "negative_prompt": ["ab (ab) ab ab ab ab"]},
        {"compose": ["cd", "(ab:1.4) ab ab ab ab ab"]},
    ],
)
def test_weights_and_length_go_with_negative_and_composed_prompts(model, more):
    asked = sampling.resolve(
        model, num=1, batch_size=1, emphasis=True, long_prompts=True, steps=1, **more
    )
    assert asked.reading.chunk_count(asked, view(model)) > 1
    assert sampling.draw(model, asked).images.shape == (1, tiny.SIZE, tiny.SIZE, 3)


def test_prompts_of_a_file_are_taken_in_turn(model, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red block\n\n  a blue one \n")
    asked = sampling.resolve(model, prompts_file=str(tmp_path / "prompts.txt"))
    assert asked.prompts.prompt == ("a red block", "a blue one") and asked.images.num == 2
    with pytest.raises(InputError, match="both say prompts"):
        sampling.resolve(model, prompt=["ab"], prompts_file=str(tmp_path / "prompts.txt"))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="is empty: expected a prompt a line"):
        sampling.resolve(model, prompts_file=str(tmp_path / "empty.txt"))
    with pytest.raises(InputError, match="cannot be read"):
        sampling.resolve(model, prompts_file=str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("written", "prompts"),
    [
        (b"\xef\xbb\xbfa cat\r\na dog\r\n", ("a cat", "a dog")),
        (b"\xef\xbb\xbfa cat\n\xef\xbb\xbfa dog", ("a cat", "a dog")),  # of two such files
        ("a cat\u2028here\nstra\xdfe".encode(), ("a cat\u2028here", "stra\xdfe")),
    ],
)
def test_prompts_are_utf8_with_or_without_a_mark(model, tmp_path, written, prompts):
    (tmp_path / "prompts.txt").write_bytes(written)
    asked = sampling.resolve(model, prompts_file=str(tmp_path / "prompts.txt"))
    assert asked.prompts.prompt == prompts


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_prompts_of_other_encodings_are_refused(model, tmp_path, encoding):
    (tmp_path / "prompts.txt").write_text("stra\xdfe", encoding)
    with pytest.raises(InputError, match=r"prompts\.txt' cannot be read .*: expected .*UTF-8"):
        sampling.resolve(model, prompts_file=str(tmp_path / "prompts.txt"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"emphasis": True}, "--emphasis is True: leave it out"),
        ({"long_prompts": True}, "--long-prompts is True: leave it out"),
        ({"clip_skip": 1}, "--clip-skip is 1: leave it out"),
    ],
)
def test_what_is_for_clips_text_encoder_is_refused_for_others(asked, said):
    model, params, tokenizer = tiny.model(tiny.experiment())
    other = runs.Trained(
        Path("run"), tiny.experiment(), model, params, {"tokens": tokenizer}, (), 4
    )
    with pytest.raises(InputError, match=f"{said}, since it is for CLIP's text encoder"):
        sampling.resolve(other, **asked)


def test_what_cannot_be_asked_of_clips_text_encoder(model):
    with pytest.raises(InputError, match=r"--clip-skip is 4: expected 1, .* to 3"):
        sampling.resolve(model, clip_skip=4)
    with pytest.raises(InputError, match=r"has '.' without"):
        sampling.resolve(model, prompt=["a cat)"], emphasis=True)
    assert sampling.resolve(model, prompt=["a cat)"]).prompts.prompt == ("a cat)",)
    short = sampling.resolve(model, prompt=["cd"], long_prompts=True)
    assert short.reading.chunk_count(short, view(model)) == 1
