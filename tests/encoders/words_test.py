"""New words of tokenizers: what a prompt with them becomes."""

import functools

import numpy as np
import pytest
from tokenizers import Tokenizer

from ldm_jax.encoders.tokenizers import clip, prompt_weights, words
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError

CAPTIONS = ["a large red circle at the top", "a small blue square and a cat"]
LENGTH = 12


@functools.cache
def tokenizer(kind: str) -> Tokenizer:
    if kind == "clip":
        return clip.learn(CAPTIONS, 700, LENGTH, "openai")
    return tokens.learn(CAPTIONS, 64, LENGTH)


both = pytest.mark.parametrize("kind", ["clip", "word pieces"])


@both
@pytest.mark.parametrize("word", ["sks", "<toy>", "My-Style", "<Ça>", "*"])
def test_a_word_becomes_its_tokens_wherever_it_stands(kind, word):
    base = tokenizer(kind)
    size = base.get_vocab_size()
    made = words.add_word(base, word, 3)
    own = list(range(size, size + 3))
    assert words.numbers(made, word) == tuple(own)
    assert made.get_vocab_size() == size + 3
    red, cat = (words.pieces(base, x) for x in ("a red", "cat"))
    assert words.pieces(made, f"a red {word} cat") == [*red, *own, *cat]
    assert words.pieces(made, f"{word},{word}") == [*own, *words.pieces(base, ","), *own]
    assert words.pieces(made, word.upper()) == own
    assert [*tokens.encode(made, f"{word} a red")[1:4]] == own
    for caption in CAPTIONS:  # which do not have it
        np.testing.assert_array_equal(tokens.encode(made, caption), tokens.encode(base, caption))
    again = Tokenizer.from_str(made.to_str())
    assert words.pieces(again, f"a red {word}") == [*red, *own]


@both
def test_a_word_is_not_found_inside_others(kind):
    base = tokenizer(kind)
    made = words.add_word(words.add_word(base, "toy", 2), "cat-toy", 1)
    first = base.get_vocab_size()
    assert words.pieces(made, "cat-toy toy") == [first + 2, first, first + 1]
    for text in ("toys", "atoy", "toy_x", "a-toy"):
        assert words.pieces(made, text) == words.pieces(base, text), text


@both
def test_twelve_tokens_keep_their_order(kind):
    made = words.add_word(tokenizer(kind), "<1", 12)
    assert tuple(words.pieces(made, "<1")) == words.numbers(made, "<1")


def test_weights_and_chunks_of_prompts():
    base = tokenizer("clip")
    made = words.add_word(base, "<toy>", 4)
    own = list(words.numbers(made, "<toy>"))
    a, red = words.pieces(base, "a"), words.pieces(base, "red")
    numbers, weights = prompt_weights.pieces(made, "a (<toy>:1.5) red", weighted=True)
    assert numbers == [*a, *own, *red]
    assert weights == [1.0] * len(a) + [1.5] * 4 + [1.0] * len(red)
    prompt = " ".join(["<toy>"] * 4)  # 16 tokens, 10 a chunk
    assert prompt_weights.count_chunks(made, prompt, weighted=False) == 2
    rows, _ = prompt_weights.chunks(made, prompt, weighted=False, count=2)
    assert [*rows[0, 1:11], *rows[1, 1:7]] == 4 * own
    assert rows[1, 7] == base.token_to_id(clip.END)


@both
def test_what_is_a_word_already(kind):
    base = tokenizer(kind)
    assert words.is_word(base, "red")
    assert not words.is_word(base, "redred")
    assert not words.is_word(base, "<toy>")
    assert not words.is_word(base, "ß")
    assert words.is_word(words.add_word(base, "<toy>", 2), "<toy>")


@pytest.mark.parametrize("word", ["", "a toy", " "])
def test_a_new_word_has_no_spaces(word):
    with pytest.raises(InputError, match=r"token is .*: expected a word without spaces"):
        words.check_word(tokenizer("clip"), word, "token")
