"""Sources made of others, batches of pairs, and images of a class that a model draws."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ldm_jax.data import class_images, pipeline
from ldm_jax.data.paired import Paired
from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from tests.support import tiny

SUBJECT, CLASS = 3, 8


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A subject in uniform images of values 0, 1, 2, its class in images of values 100 to 107."""
    root = tmp_path_factory.mktemp("pairs")
    for name, first, count in (("subject", 0, SUBJECT), ("class", 100, CLASS)):
        (root / name).mkdir()
        for i in range(count):
            pixels = np.full((tiny.SIZE, tiny.SIZE, 3), first + i, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    data = Data(image_size=tiny.SIZE, batch_size=4, threads=0)
    asked = (
        replace(data, path=str(root / "subject"), captions=("a sks toy", "the sks toy")),
        replace(data, path=str(root / "class"), captions=("a toy",)),
    )
    return data, [pipeline.open_source(one) for one in asked]


def stream(data, source, count, seed=0, **hosts):
    """Grey values, lengths of captions and sides of examples, [count, batch]."""
    found = pipeline.batches(
        data,
        source,
        seed=seed,
        keys=("tokens", "prior"),
        tokenize={"tokens": lambda text: np.array([len(text)])},
        derive={"prior": lambda example, rng: np.bool_(source.is_prior(example["index"]))},
        **hosts,
    )
    batches = [next(found) for _ in range(count)]
    values = [np.round((x["image"][:, 0, 0, 0] + 1) * 127.5).astype(int) for x in batches]
    return np.stack(values), np.stack([[x["tokens"][:, 0], x["prior"]] for x in batches])


def test_captions_of_the_settings_replace_those_of_the_data(sources):
    data, [(subject, info), _] = sources
    assert info.has_captions
    assert pipeline.captions(subject) == SUBJECT * ["a sks toy", "the sks toy"]
    paired = Paired(subject, subject)
    _, of = stream(data, paired, 10)
    assert {*of[:, 0].ravel()} == {len("a sks toy"), len("the sks toy")}


def test_each_batch_has_pairs_and_all_are_equally_frequent(sources):
    data, [(subject, _), (prior, _)] = sources
    paired = Paired(subject, prior)
    values, of = stream(data, paired, 12)
    lengths, is_class = of[:, 0], of[:, 1].astype(bool)
    assert np.array_equal(is_class, np.tile([False, True, False, True], (12, 1)))
    np.testing.assert_array_equal(values >= 100, is_class)
    np.testing.assert_array_equal(lengths == len("a toy"), is_class)
    own, counts = np.unique(values, return_counts=True)
    assert [*own] == [*range(SUBJECT), *range(100, 100 + CLASS)]
    assert [*counts] == [8] * SUBJECT + [3] * CLASS  # 24 of each
    other, _ = stream(data, paired, 12, seed=1)
    assert not np.array_equal(values, other)


def test_pairs_do_not_depend_on_the_number_of_hosts(sources):
    data, [(subject, _), (prior, _)] = sources
    paired = Paired(subject, prior)
    whole, _ = stream(data, paired, 6)
    hosts = [stream(data, paired, 6, process_index=i, process_count=2)[0] for i in range(2)]
    np.testing.assert_array_equal(np.stack(hosts, 2).reshape(6, 4), whole)


def test_class_images_are_drawn_once_and_go_on_where_they_were(tmp_path):
    calls = []

    def draw(seeds):
        calls.append(list(seeds))
        return np.stack([np.full((2, 2, 3), seed, np.uint8) for seed in seeds])

    folder = tmp_path / "class"
    assert class_images.fill(folder, 3, draw, 2) == 3
    assert calls == [[0, 1], [2, 2]]
    (folder / "000001.png").unlink()
    assert class_images.missing(folder, 5) == [1, 3, 4]
    (folder / "own.jpg").write_bytes((folder / "000000.png").read_bytes())
    calls.clear()
    assert class_images.fill(folder, 5, draw, 2) == 2
    assert calls == [[1, 3]]
    assert class_images.fill(folder, 5, draw, 2) == 0
    for seed in (0, 1, 2, 3):
        with Image.open(folder / f"{seed:06}.png") as image:
            assert image.getpixel((0, 0)) == (seed, seed, seed)


def test_latents_keep_their_captions(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.latents, "Source", type("Source", (), {}))
    with pytest.raises(InputError, match=r"data.captions is \('a toy',\): expected \(\), since"):
        pipeline._captioned(Data(path="latents", captions=("a toy",)), pipeline.latents.Source())
