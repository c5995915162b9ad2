"""Captions to token numbers."""

import numpy as np
import pytest

from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError

CAPTIONS = [
    f"a {color} {shape} at the top" for color in ("red", "blue") for shape in ("box", "disc")
]
LENGTH = 10


@pytest.fixture(scope="module")
def tokenizer():
    return tokens.learn(CAPTIONS, vocab_size=100, length=LENGTH)


def ids(tokenizer, *words):
    return [tokenizer.token_to_id(word) for word in words]


def test_a_caption_is_its_words_between_two_marks_then_padding(tokenizer):
    found = tokens.encode(tokenizer, "a red box")
    words = ids(tokenizer, "[CLS]", "a", "red", "box", "[SEP]")
    assert found.dtype == np.int32
    assert found.tolist() == words + ids(tokenizer, "[PAD]") * (LENGTH - 5)


def test_a_long_caption_is_cut_and_still_ends(tokenizer):
    found = tokens.encode(tokenizer, "red " * 50).tolist()
    assert found == ids(tokenizer, "[CLS]", *["red"] * (LENGTH - 2), "[SEP]")


def test_no_caption_is_two_marks(tokenizer):
    empty = tokens.encode(tokenizer, "").tolist()
    assert empty == ids(tokenizer, "[CLS]", "[SEP]") + ids(tokenizer, "[PAD]") * (LENGTH - 2)
    assert tokens.encode(tokenizer, "   ").tolist() == empty


def test_a_piece_in_a_caption_is_text_and_not_a_piece(tokenizer):
    hashes = tokens.encode(tokenizer, "##d")
    assert tokenizer.token_to_id("##d") is not None
    assert tokenizer.token_to_id("##d") != hashes[1]


def test_case_does_not_matter(tokenizer):
    one, other = (tokens.encode(tokenizer, text) for text in ("A RED Box", "a red box"))
    np.testing.assert_array_equal(one, other)


def test_what_was_unseen_is_unknown(tokenizer):
    (unknown,) = ids(tokenizer, "[UNK]")
    for text in ("zebra", "雪", "🙂"):
        assert tokens.encode(tokenizer, f"red {text}")[2] == unknown


@pytest.mark.parametrize("size", [30, 35, 100])
def test_learning_is_deterministic(size):
    one, *others = (tokens.learn(CAPTIONS, size, LENGTH).to_str() for _ in range(4))
    assert set(others) == {one}


def test_the_vocabulary_is_bounded():
    assert tokens.learn(CAPTIONS, 40, LENGTH).get_vocab_size() <= 40


def test_every_number_is_below_the_vocabularys_size(tokenizer):
    largest = max(tokens.encode(tokenizer, text).max() for text in CAPTIONS)
    assert largest < tokenizer.get_vocab_size() <= 100


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = tokens.load(tmp_path / "tokenizer.json", LENGTH)
    for text in (*CAPTIONS, "", "red " * 50, "a zebra"):
        np.testing.assert_array_equal(tokens.encode(loaded, text), tokens.encode(tokenizer, text))
    shorter = tokens.load(tmp_path / "tokenizer.json", 4)
    assert tokens.encode(shorter, CAPTIONS[0]).shape == (4,)


def test_a_tokenizer_that_cannot_be_loaded_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"absent\.json' does not exist"):
        tokens.load(tmp_path / "absent.json", LENGTH)
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(InputError, match=r"broken\.json' cannot be read"):
        tokens.load(tmp_path / "broken.json", LENGTH)


def test_a_vocabulary_of_berts_numbers_its_tokens_by_line(tmp_path):
    pieces = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "cat", "##s", "!"]
    (tmp_path / "vocab.txt").write_text("".join(f"{x}\n" for x in pieces), "utf-8-sig")
    tokenizer = tokens.load(tmp_path / "vocab.txt", 8)
    assert tokenizer.get_vocab_size() == len(pieces)
    assert tokens.encode(tokenizer, "Red cats, dog!").tolist() == [3, 6, 7, 8, 2, 2, 9, 4]
    assert tokens.encode(tokenizer, "").tolist() == [3, 4] + [0] * 6


def test_a_text_file_that_is_no_vocabulary_is_refused(tmp_path):
    (tmp_path / "words.txt").write_text("red\ncat\n")
    with pytest.raises(InputError, match=r"words.txt' has no \[PAD\]"):
        tokens.load(tmp_path / "words.txt", 8)
