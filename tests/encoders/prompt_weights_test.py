"""Brackets weigh words, and prompts of any length are read in chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.config import CLIPText
from ldm_jax.encoders.tokenizers import clip, prompt_weights
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from tests.support import tiny

LENGTH = 6  # four tokens between start and end
CONDITION = CLIPText(
    vocab_size=516, dim=8, layers=2, num_heads=2, length=LENGTH, weights="openclip"
)


@pytest.fixture(scope="module", name="tokenizer")
def _tokenizer():
    made = clip.clip_tokenizer([("a", "b"), ("c", "d</w>")])
    return tokens.fit(made, LENGTH, pad=0)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a (cat)", [("a ", 1.0), ("cat", 1.1)]),
        ("a ((cat))", [("a ", 1.0), ("cat", 1.21)]),
        ("a (cat:1.3) here", [("a ", 1.0), ("cat", 1.3), (" here", 1.0)]),
        ("a [cat]", [("a ", 1.0), ("cat", 1 / 1.1)]),
        ("(a [cat]:2)", [("a ", 2.0), ("cat", 2 / 1.1)]),
        ("((a) b:.5)", [("a", 0.55), (" b", 0.5)]),
        ("(a: -1 )", [("a", -1.0)]),
        (r"\(a\) \[b\] \\ c", [("(a) [b] \\ c", 1.0)]),
        ("at 12:30, a cat", [("at 12:30, a cat", 1.0)]),
        ("", []),
    ],
)
def test_weights_of_a_prompt(prompt, parts):
    found = prompt_weights.parse(prompt)
    assert [part for part, _ in found] == [part for part, _ in parts]
    np.testing.assert_allclose([w for _, w in found], [w for _, w in parts])


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a (cat", r"has '\(' that does not close: expected both, or '\\\('"),
        ("a cat)", r"has '\)' without '\('"),
        ("a cat:1.3)", r"has '\)' without '\('"),
        ("[a (cat]", r"has '\]' without '\['"),
    ],
)
def test_brackets_that_do_not_match_are_named(prompt, said):
    with pytest.raises(InputError, match=said):
        prompt_weights.parse(prompt)


def test_a_short_prompt_without_brackets_is_read_as_ever(tokenizer):
    for prompt in ("", "ab cd", "ab (cd)", "ab cd ab cd ab"):
        rows, weights = prompt_weights.chunks(tokenizer, prompt, False, 1)
        np.testing.assert_array_equal(rows, [tokens.encode(tokenizer, prompt)])
        assert np.all(weights == 1.0)


def test_a_long_prompt_goes_on_in_the_next_chunk(tokenizer):
    start, end, *_ = tokens.encode(tokenizer, "")
    cd = 513
    assert prompt_weights.count_chunks(tokenizer, "cd cd (cd cd cd:2)", True) == 2
    rows, weights = prompt_weights.chunks(tokenizer, "cd cd (cd cd cd:2)", True, 3)
    assert rows.tolist() == [
        [start, cd, cd, cd, cd, end],
        [start, cd, end, 0, 0, 0],
        [start, end, 0, 0, 0, 0],
    ]
    assert weights.tolist() == [[1, 1, 1, 2, 2, 1], [1, 2, 1, 1, 1, 1], [1] * 6]


@pytest.fixture(scope="module", name="read")
def _read(tokenizer):
    """A prompt -> its encoding, [count n, d]."""
    plain = CONDITION.build(BuildContext({"tokens": tokenizer}, None))
    params = tiny.drawn(plain.init)

    def read(prompt, weighted=True, count=2):
        rows, weights = prompt_weights.chunks(tokenizer, prompt, weighted, count)
        given = {"tokens": jnp.asarray(rows)[None], "token_weights": jnp.asarray(weights)[None]}
        return prompt_weights.chunked(plain, count).apply(params, given).tokens[0]

    return read


def test_chunks_are_concatenated_as_the_encoder_reads_each(read, tokenizer):
    plain = CONDITION.build(BuildContext({"tokens": tokenizer}, None))
    params = tiny.drawn(plain.init)
    each = [plain.apply(params, {"tokens": tokens.encode(tokenizer, p)[None]}).tokens[0]
            for p in ("cd cd cd cd", "ab")]  # fmt: skip
    np.testing.assert_allclose(read("cd cd cd cd ab"), np.concatenate(each), atol=1e-6)


def test_a_weight_scales_the_vectors_of_its_words_and_the_mean_stays(read):
    flat, weighted = read("cd ab", count=1), read("(cd:1.5) ab", count=1)
    np.testing.assert_allclose(np.mean(weighted), np.mean(flat), rtol=1e-4)
    ratio = weighted / flat
    np.testing.assert_allclose(ratio[1] / ratio[0], 1.5, rtol=1e-4)
    np.testing.assert_allclose(ratio[2:], np.broadcast_to(ratio[0], ratio[2:].shape), rtol=1e-4)


def test_without_weights_brackets_are_characters(read):
    assert np.any(read("(cd)", weighted=False) != read("cd"))
    np.testing.assert_array_equal(read(r"\(cd\)"), read("(cd)", weighted=False))


def test_the_null_has_as_many_chunks(tokenizer):
    plain = CONDITION.build(BuildContext({"tokens": tokenizer}, None))
    null = prompt_weights.chunked(plain, 3).null(2)
    assert jax.tree.map(jnp.shape, null) == {"tokens": (2, 3, 6), "token_weights": (2, 3, 6)}
    np.testing.assert_array_equal(null["tokens"][1, 2], tokens.encode(tokenizer, ""))
