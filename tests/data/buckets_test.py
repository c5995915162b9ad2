"""Aspect-ratio buckets: which sizes there are, who is in them, and in which order they come."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ldm_jax import config
from ldm_jax.data import buckets, pipeline
from ldm_jax.data.folder import open_folder
from ldm_jax.errors import InputError

SHAPES = [(12, 24)] * 5 + [(24, 12)] * 7 + [(16, 16)] * 9  # height and width of the folder's


def test_sizes_are_of_one_area_and_within_the_aspect():
    found = buckets.sizes(512, 64, 2.0)
    assert found[0] == (512, 512) and len(set(found)) == len(found)
    for height, width in found:
        assert height % 64 == width % 64 == 0
        assert 0.75 * 512**2 <= height * width <= 512**2
        assert max(height / width, width / height) <= 2.0
        assert (width, height) in found
    assert {(448, 576), (384, 640), (320, 640)} < set(found)
    assert (256, 1024) in buckets.sizes(512, 64, 4.0)


def test_an_image_goes_to_the_nearest_shape():
    among = buckets.sizes(512, 64, 2.0)
    for size in among:
        assert among[buckets.nearest(3 * size[0], 3 * size[1], among)] == size
    assert among[buckets.nearest(1000, 1020, among)] == (512, 512)
    assert among[buckets.nearest(100, 900, among)] == (320, 640)  # as wide as there is


def of_counts(*counts):
    ends = np.cumsum(counts)
    members = tuple(np.arange(end - n, end) for n, end in zip(counts, ends, strict=True))
    of = np.repeat(np.arange(len(counts)), counts)
    return buckets.Buckets(tuple((8, 8 * i) for i in range(1, len(counts) + 1)), members, of)


def test_each_batch_is_of_one_size_and_all_examples_come_equally_often():
    sorted_by, B = of_counts(10, 3, 27), 4
    order = buckets.Order(sorted_by, B, seed=1)
    found = np.array([order(p) for p in range(40 * B)]).reshape(40, B)  # 4 epochs of 10 batches
    assert np.all(sorted_by.of[found] == sorted_by.of[found][:, :1])
    counts = np.bincount(found.ravel(), minlength=40)
    np.testing.assert_array_equal(counts, 4)
    kinds = sorted_by.of[found[:, 0]]
    assert np.any(np.diff(kinds[:10]) != 0) and set(kinds) == {0, 1, 2}
    of_third = found[kinds == 2].ravel()[:27]
    assert len(set(of_third)) == 27  # each once before any comes again


def test_a_size_with_fewer_images_than_a_batch_comes_once_in_several_epochs():
    order = buckets.Order(of_counts(2), 8, seed=0)
    first = [order(p) for p in range(8)]
    assert sorted(first) == [0] * 4 + [1] * 4


def test_the_order_is_a_function_of_position_and_seed():
    one, other = (buckets.Order(of_counts(10, 7), 4, seed) for seed in (1, 2))
    late = [one(p) for p in range(1000, 1040)]
    again = buckets.Order(of_counts(10, 7), 4, 1)
    assert late == [again(p) for p in reversed(range(1000, 1040))][::-1]
    assert late != [other(p) for p in range(1000, 1040)]


@pytest.fixture(name="folder")
def _folder(tmp_path):
    """Noise of three shapes; the red of image i is i, and its caption says so."""
    root = tmp_path / "images"
    root.mkdir()
    for i, shape in enumerate(SHAPES):
        pixels = np.random.default_rng(i).integers(0, 256, (*shape, 3), np.uint8)
        pixels[..., 0] = i
        Image.fromarray(pixels).save(root / f"{i:02}.png")
        (root / f"{i:02}.txt").write_text(str(i))
    return root


def settings(folder, **changes):
    given = {"image_size": 12, "batch_size": 4, "threads": 2, "buckets": 4}
    return config.Data(path=str(folder), **(given | changes))


def stream(data, **hosts):
    source, _ = pipeline.open_source(data)
    tokenize = lambda text: np.array([int(text)], np.int32)  # noqa: E731
    return pipeline.batches(
        data, source, seed=3, keys=("tokens",), tokenize={"tokens": tokenize}, **hosts
    )


def test_images_keep_their_shape_and_each_batch_has_one(folder):
    batches = stream(settings(folder, crop="random", flip=True))
    found = [next(batches) for _ in range(20)]
    shapes = {batch["image"].shape for batch in found}
    assert shapes == {(4, 12, 12, 3), (4, 8, 16, 3), (4, 16, 8, 3)}
    for batch in found:
        _, height, width, _ = batch["image"].shape
        for i in batch["tokens"][:, 0]:
            assert (SHAPES[i][0] > SHAPES[i][1]) == (height > width)
            assert (SHAPES[i][0] < SHAPES[i][1]) == (height < width)
        red = np.rint((batch["image"][:, 0, 0, 0] + 1) * 127.5)
        np.testing.assert_array_equal(red, batch["tokens"][:, 0])


def test_hosts_share_each_batch_and_a_stream_goes_on_where_it_stood(folder):
    data = settings(folder)
    whole = stream(data)
    some = [next(whole) for _ in range(6)]
    two = [stream(data, process_index=i, process_count=2) for i in range(2)]
    for batch in some[:3]:
        for i, host in enumerate(two):
            part = next(host)
            np.testing.assert_array_equal(part["image"], batch["image"][i::2])
    state = two[0].get_state()
    fresh = stream(data, process_index=0, process_count=2)
    fresh.set_state(state)
    np.testing.assert_array_equal(next(fresh)["image"], some[3]["image"][0::2])


def test_squares_are_as_they_were_without_buckets(folder):
    batch = next(stream(settings(folder, buckets=0)))
    assert batch["image"].shape == (4, 12, 12, 3)


def test_a_damaged_image_is_replaced_by_one_of_its_size(folder, capsys):
    (folder / "00.png").write_bytes((folder / "00.png").read_bytes()[:60])
    batches = stream(settings(folder))
    found = [next(batches) for _ in range(12)]
    wide = [batch["tokens"] for batch in found if batch["image"].shape[1:3] == (8, 16)]
    assert wide and 0 not in np.concatenate(wide)
    assert "skipped" in capsys.readouterr().err


def test_images_on_their_side_are_turned_before_they_are_sorted(tmp_path):
    image, exif = Image.new("RGB", (30, 60)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as read:
        assert buckets.shape_of(read) == (30, 60)
    among = tuple(buckets.sizes(12, 4, 2.0))
    found = buckets.sort(open_folder(str(tmp_path), split="", caption="", label=""), among)
    assert found.sizes == ((8, 16),)


def test_images_that_are_too_small_and_buckets_that_cannot_be_are_refused(folder):
    data = settings(folder, image_size=16)
    with pytest.raises(InputError, match=r"is 24x12 pixels, smaller than .* --data.upscale"):
        stream(replace(data, image_size=32))
    assert next(stream(replace(data, image_size=32, upscale=True)))["image"].size
    with pytest.raises(InputError, match=r"data.buckets is 12: expected a multiple of 8"):
        buckets.check(512, 12, 2.0, 8)
    with pytest.raises(InputError, match=r"data.bucket_aspect is 1: expected more than 1"):
        buckets.check(512, 64, 1.0, 8)
    with pytest.raises(InputError, match=r"data.buckets is 64: expected a divisor"):
        buckets.check(500, 64, 2.0, 8)
