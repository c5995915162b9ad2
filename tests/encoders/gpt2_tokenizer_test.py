"""GPT-2's tokenizer as GLIDE uses it."""

import json

import pytest

from ldm_jax.encoders.tokenizers import gpt2
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.encoders.tokenizers.byte_pairs import characters
from ldm_jax.errors import InputError

CAPTIONS = ["a red circle", "a red square at the left", "the blue circle"]


@pytest.fixture(name="learned")
def _learned():
    return gpt2.learn(CAPTIONS, 280, 12)


def own(tokenizer, caption):
    """The tokens of a caption without padding."""
    found = tokens.encode(tokenizer, caption).tolist()
    return [tokenizer.id_to_token(n) for n in found if n != tokens.padding(tokenizer)]


def test_captions_are_bytes_that_are_merged_without_start_and_end(learned):
    assert learned.get_vocab_size() == 280
    assert tokens.padding(learned) == 279  # the last
    assert "".join(own(learned, "a red circle")).replace("\u0120", " ") == "a red circle"
    assert len(own(learned, "a red circle")) == 3
    assert tokens.encode(learned, "").tolist() == [279] * 12
    assert own(learned, "A RED circle") == own(learned, "a red circle")
    assert own(learned, "\u00e9") == ["\u00c3", "\u00a9"]  # two bytes, none of them merged


def test_the_name_of_padding_in_a_caption_is_text(learned):
    assert len(own(learned, gpt2.PADDING)) > 1


def test_a_long_caption_is_cut_at_its_end(learned):
    assert len(tokens.encode(learned, "a red circle " * 9)) == 12


def test_the_files_of_openai_and_of_transformers_are_read(learned, tmp_path):
    merges = [("r", "e"), ("re", "d"), ("\u0120", "red")]
    pieces = [*characters(), *("".join(pair) for pair in merges), gpt2.PADDING]
    vocabulary = json.dumps({piece: 3 * n for n, piece in enumerate(pieces)})
    table = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)
    for words, pairs in gpt2.FILES:
        folder = tmp_path / words
        folder.mkdir()
        (folder / words).write_text(vocabulary, "utf-8")
        (folder / pairs).write_text(table, "utf-8")
        for path in (folder, folder / words, folder / pairs):
            found = gpt2.load(path, 4)
            assert tokens.encode(found, "a red").tolist() == [
                3 * pieces.index("a"),
                3 * pieces.index("\u0120red"),
                *[3 * 259] * 2,
            ]
    learned.save(str(tmp_path / "tokenizer.json"))
    again = gpt2.load(tmp_path / "tokenizer.json", 12)
    assert own(again, "a red circle") == own(learned, "a red circle")


def test_what_is_no_tokenizer_of_it_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected encoder\.json and vocab\.bpe there"):
        gpt2.load(tmp_path, 4)
    (tmp_path / "encoder.json").write_text('{"a": 0}', "utf-8")
    with pytest.raises(InputError, match=r"expected encoder\.json and vocab\.bpe there"):
        gpt2.load(tmp_path, 4)
    (tmp_path / "vocab.bpe").write_text("a b c\n", "utf-8")
    with pytest.raises(InputError, match="two tokens a line"):
        gpt2.load(tmp_path, 4)
    (tmp_path / "vocab.bpe").write_text("a b\n", "utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        gpt2.load(tmp_path, 4)
    tokens.learn(CAPTIONS, 40, 8).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"has no <\|endoftext\|>: expected one of GPT-2"):
        gpt2.load(tmp_path / "tokenizer.json", 4)
