"""evaluate.py clip-score: which images and captions are compared, and what is refused."""

import json
from pathlib import Path

import evaluate as tool
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ldm_jax.encoders.clip.model import CLIP, MODELS, TextArchitecture, embed_captions, embed_images
from ldm_jax.encoders.clip.vision import Architecture, normalised
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.encoders.tokenizers.tokenizer import encode
from ldm_jax.errors import InputError
from ldm_jax.evaluate.clip_score import captions_of
from ldm_jax.metrics.clip_score import clip_score
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.names.clip import both_encoders
from ldm_jax.weights.names.clip_file import load_clip
from ldm_jax.weights.table import shapes, to_here, to_original
from tests.support import tiny

MERGES = "#version: 0.2\nb l\no c\nbl oc\n"
SMALL = CLIP(Architecture(8, 1, 2, 6, 4, 8), TextArchitecture(8, 1, 2, 16, 512 + 3 + 2))


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    table = both_encoders(SMALL, "transformers")
    sizes = shapes(table).items()
    return to_here(table, {k: rng.normal(size=s).astype(np.float32) for k, s in sizes})


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, params):
    """A folder with weights and a tokenizer of a model that takes no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "vit_b32", SMALL)
    Path("merges.txt").write_text(MERGES)
    beside = {"logit_scale": np.float32(4.6)}
    Path("clip").mkdir()
    named = to_original(both_encoders(SMALL, "transformers"), params)
    write_weights("clip/model.safetensors", named | beside)
    named = to_original(both_encoders(SMALL, "openclip"), params)
    halves = {key: np.float16(w) for key, w in named.items()}
    write_weights("original.pt", halves | beside)
    return tmp_path


def score(*words) -> dict:
    given = ["--weights", "clip", "--clip", "vit_b32", "--tokenizer", "merges.txt"]
    tool.main(["clip-score", *map(str, words), *given, "--batch-size", "8", "--out", "out"])
    return json.loads(Path("out/clip-score.json").read_text())


def expected(params, images: np.ndarray, captions: list[str]) -> np.ndarray:
    tokenizer = clip.load("merges.txt", SMALL.text.length, "openai")
    tokens = np.stack([encode(tokenizer, caption) for caption in captions])
    x = embed_images(SMALL, params, normalised(jnp.float32(images) / 255.0))
    return clip_score(np.asarray(x), np.asarray(embed_captions(SMALL, params, tokens)))


def test_images_meet_their_own_captions(params, image_folder):
    rows = [json.loads(row) for row in (image_folder / "metadata.jsonl").read_text().splitlines()]
    images = np.stack([np.asarray(Image.open(image_folder / row["file_name"])) for row in rows])
    scores = expected(params, images, [row["text"] for row in rows])
    assert np.ptp(scores) > 1.0  # captions count
    report = score(image_folder)
    assert report["CLIP score"] == pytest.approx(scores.mean(), rel=1e-4)
    assert report["standard error"] == pytest.approx(scores.std(ddof=1) / 4.0, rel=1e-3)
    assert report["num"] == 16 and report["clip"]["weights"] == "model.safetensors"
    some = score(image_folder, "--num", 4)
    assert some["CLIP score"] == pytest.approx(scores[::4].mean(), rel=1e-4)


def test_files_of_either_layout_are_one_model(params):
    ours = load_clip("vit_b32", SMALL, "clip").params
    tiny.assert_same(ours, params)
    original = load_clip("vit_b32", SMALL, "original.pt").params
    tiny.assert_close(original, params, atol=1e-2)  # kept in 16 bits
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(original))


def test_a_caption_ends_at_its_end(params):
    """What fills it up does not count, whatever it is."""
    tokenizer = clip.load("merges.txt", SMALL.text.length, "openai")
    ids = encode(tokenizer, "a red block")[None]
    end = int(np.argmax(ids))
    assert end < SMALL.text.length - 1
    other = np.where(np.arange(SMALL.text.length) > end, 0, ids)
    a, b = (np.asarray(embed_captions(SMALL, params, x)) for x in (ids, other))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_captions_are_found_next_to_images_and_in_reports(image_folder):
    found = captions_of(image_folder, 16)
    assert found[:2] == ["a red block at the top", "a green block at the top"]
    Path("drawn").mkdir()
    Path("drawn/report.json").write_text(json.dumps({"prompts": ["a", "b"]}))
    assert captions_of(Path("drawn"), 5) == ["a", "b", "a", "b", "a"]
    Path("texts").mkdir()
    for name in "xy":
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(f"texts/{name}.png")
        Path(f"texts/{name}.txt").write_text(f"caption {name}")
    assert captions_of(Path("texts"), 2) == ["caption x", "caption y"]


def test_weights_that_are_not_finite_give_no_score(params, image_folder, capsys):
    broken = jax.tree.map(lambda x: x * np.nan, params)
    named = to_original(both_encoders(SMALL, "transformers"), broken)
    write_weights("clip/model.safetensors", named | {"logit_scale": np.float32(4.6)})
    with pytest.raises((FloatingPointError, InputError)):
        score(image_folder)
    assert "CLIP score" not in capsys.readouterr().out and not Path("out").exists()


def test_one_image_is_too_few(here, image_folder):
    (here / "one").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("one/a.png")
    Path("one/a.txt").write_text("black")
    with pytest.raises(InputError, match="the images of 'one' are 1: expected at least 2"):
        score("one")
    with pytest.raises(InputError, match="--num is 1: expected at least 2"):
        score(image_folder, "--num", 1)


def test_what_is_refused(image_folder, class_run):
    with pytest.raises(InputError, match="--weights is not given"):
        tool.main(["clip-score", str(image_folder)])
    with pytest.raises(
        InputError, match="of a model of class labels: expected one that reads 'tokens'"
    ):
        score(class_run)
    Path("bare").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("bare/a.png")
    with pytest.raises(InputError, match="caption"):
        score("bare")
    write_weights("other.safetensors", {"visual.proj": np.zeros((2, 2), np.float32)})
    with pytest.raises(InputError, match=r"not the weights of CLIP vit_b32: .* is missing"):
        load_clip("vit_b32", SMALL, "other.safetensors")
    with pytest.raises(InputError, match="is a folder without any of"):
        load_clip("vit_b32", SMALL, "bare")
    assert not Path("out").exists()
