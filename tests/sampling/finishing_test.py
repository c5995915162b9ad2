"""A safety check and a watermark: off unless asked for, and said."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ldm_jax import runs, sampling
from ldm_jax.encoders.clip.concepts import Concepts, scores, unwanted
from ldm_jax.encoders.clip.vision import Architecture, CLIPImageEncoder
from ldm_jax.errors import InputError
from ldm_jax.sampling import finishing
from ldm_jax.sampling.finishing import Finishing
from ldm_jax.sampling.size import Size
from ldm_jax.sections import Request, RunView
from ldm_jax.weights.names import safety_checker
from tests.support import tiny

RUN = RunView(Path("run"), None, None, 8, 2, 4)
X, Y = np.eye(4, dtype=np.float32)[:2]


def concepts(limit, special_limit=2.0):
    return Concepts(Y[None], np.float32([special_limit]), X[None], np.float32([limit]))


def test_an_image_is_unwanted_where_its_cosine_passes_the_limit():
    photos = np.stack([3 * X, 2 * (X + Y), Y])  # cosines 1, 0.707 and 0
    np.testing.assert_array_equal(unwanted(concepts(0.8), photos), [True, False, False])
    np.testing.assert_array_equal(unwanted(concepts(0.7), photos), [True, True, False])
    np.testing.assert_allclose(scores(concepts(0.7), photos)[:, 0], [0.3, 0.007, -0.7], atol=1e-6)


def test_concepts_of_special_care_make_limits_stricter():
    photos = np.stack([X + Y, X + 0.01 * Y])
    assert not unwanted(concepts(0.712), photos[:1])[0]
    strict = scores(concepts(0.712, 0.5), photos) - scores(concepts(0.712), photos)
    np.testing.assert_allclose(strict[:, 0], [0.01, 0.0], atol=1e-6)
    assert unwanted(concepts(0.712, 0.5), photos[:1])[0]


def test_what_is_unwanted_is_black_and_said(monkeypatch, capsys):
    of = Architecture(8, 1, 2, 4, 7, 14)
    params = tiny.drawn(CLIPImageEncoder(of).init, np.zeros((1, 14, 14, 3), np.float32))["params"]
    images = np.random.default_rng(0).integers(1, 256, (3, 20, 30, 3), np.uint8)
    images[1] = 7
    x = finishing.prepared(Image.fromarray(images[1]), 14)[None]
    near = CLIPImageEncoder(of).apply({"params": params}, x)
    wanted = Concepts(-np.asarray(near), np.float32([2.0]), np.asarray(near), np.float32([0.99]))
    checker = safety_checker.Checker(of, params, wanted)
    monkeypatch.setattr(safety_checker, "load", lambda folder: checker)
    found = Finishing(safety_check="checker").apply(images, 2)
    assert not found[1].any()
    np.testing.assert_array_equal(found[[0, 2]], images[[0, 2]])
    assert "safety check: 1 of 3 images are black (1)" in capsys.readouterr().out
    assert Finishing().apply(images, 2) is images


class Marker:
    """What the package has, and what it was given."""

    given: tuple = ()

    def set_watermark(self, kind, content):
        self.content = kind, content

    def encode(self, image, method):
        Marker.given = (*self.content, method, image)
        return image + np.uint8(1)


def test_a_mark_is_put_into_each_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "imwatermark", SimpleNamespace(WatermarkEncoder=Marker))
    images = np.random.default_rng(0).integers(0, 255, (2, 256, 256, 3), np.uint8)
    asked = Request.of([Size((256, 256)), Finishing(watermark="héllo")])
    asked.finishing.check(asked, RUN)
    np.testing.assert_array_equal(asked.finishing.apply(images, 2), images + 1)
    assert Marker.given[:3] == ("bytes", "héllo".encode(), "dwtDctSvd")
    np.testing.assert_array_equal(Marker.given[3], images[1, :, :, ::-1])  # blue first
    (said,) = asked.finishing.describe(asked, RUN)
    assert said == "watermark 'héllo' (dwtDctSvd of invisible-watermark)"


def test_the_packages_own_mark_can_be_read_again():
    package = pytest.importorskip("imwatermark")
    place = np.arange(256) / 40
    wave = np.sin(place[:, None, None] + 0.7 * place[None, :, None])
    image = np.uint8(128 + 60 * wave + np.array([0, 20, -20]))
    found = finishing.marked(image, "ours")
    assert 0 < np.abs(found.astype(int) - image).mean() < 4
    decoder = package.WatermarkDecoder("bytes", 32)
    assert decoder.decode(np.ascontiguousarray(found[..., ::-1]), "dwtDctSvd") == b"ours"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"safety_check": "none"}, "--safety-check 'none' does not exist: expected the folder"),
        ({"watermark": ""}, "--watermark '' has 0 bytes: expected 1 to 32"),
        ({"watermark": 33 * "a"}, "has 33 bytes: expected 1 to 32"),
        ({"watermark": "a"}, "needs images of 65536 pixels or more"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_drawn(asked, said):
    experiment = tiny.experiment()
    model, _, tokenizer = tiny.model(experiment)
    described = runs.Trained(Path("run"), experiment, model, {}, {"tokens": tokenizer}, (), 0)
    with pytest.raises(InputError, match=said):
        sampling.resolve(described, **asked)


def test_a_package_that_is_not_there_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "imwatermark", None)
    with pytest.raises(InputError, match="pip install invisible-watermark"):
        asked = Request.of([Size((256, 256)), Finishing(watermark="a")])
        asked.finishing.check(asked, RUN)


def test_a_folder_that_is_no_checker_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no config\.json: expected the folder"):
        safety_checker.load(tmp_path)
