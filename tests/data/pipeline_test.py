"""The stream of batches: what is in it, that it repeats itself exactly, and what it refuses."""

import threading

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image

from ldm_jax import config
from ldm_jax.data import pipeline, readable, reader, transforms
from ldm_jax.errors import InputError

COUNT = 20


@pytest.fixture
def folder(tmp_path):
    """COUNT images in two classes; the red of image i is i, and its caption says so."""
    root = tmp_path / "images"
    for i in range(COUNT):
        place = root / ("odd" if i % 2 else "even")
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (10, 12, 3), np.uint8)
        pixels[..., 0] = i
        Image.fromarray(pixels).save(place / f"{i:02}.png")
        (place / f"{i:02}.txt").write_text(str(i))
    return root


def settings(path, **changes):
    defaults = {"image_size": 10, "batch_size": 4, "threads": 2}
    return config.Data(path=str(path), **(defaults | changes))


def tokenize(text):
    return np.array([int(text), 0], np.int32)


def stream(data, seed=0, keys=("label", "tokens"), **hosts):
    source, _ = pipeline.open_source(data)
    return pipeline.batches(
        data, source, seed=seed, keys=keys, tokenize={"tokens": tokenize}, **hosts
    )


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def numbers(batches):
    """Which images the batches hold, in order."""
    red = np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches])
    return np.rint((red + 1) * 127.5).astype(int).tolist()


def assert_same(a, b):
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def refusal(call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def damage(folder, count):
    """Truncates the first images, in sorted order, and says their numbers."""
    files = sorted(folder.rglob("*.png"))[:count]
    for file in files:
        file.write_bytes(file.read_bytes()[:60])
    return {int(file.stem) for file in files}


def test_a_batch_has_the_shapes_types_and_ranges_promised(folder):
    batch = next(stream(settings(folder)))
    assert {key: (value.shape, value.dtype) for key, value in batch.items()} == {
        "image": ((4, 10, 10, 3), np.float32),
        "label": ((4,), np.int32),
        "tokens": ((4, 2), np.int32),
    }
    assert -1 <= batch["image"].min() < batch["image"].max() <= 1


def test_only_what_is_requested_is_in_a_batch(folder):
    assert next(stream(settings(folder), keys=())).keys() == {"image"}


def test_labels_and_captions_stay_with_their_images(folder):
    for batch in take(stream(settings(folder)), 10):
        number = numbers([batch])
        assert batch["tokens"][:, 0].tolist() == number
        assert batch["label"].tolist() == [i % 2 for i in number]


def test_what_is_known_of_the_data(folder):
    source, info = pipeline.open_source(settings(folder))
    assert info[:3] == (COUNT, ("even", "odd"), True)
    assert sorted(map(int, pipeline.captions(source))) == list(range(COUNT))
    assert len(pipeline.captions(source, limit=5)) == 5


def test_a_data_set_is_announced_once_with_what_is_left_out(folder, capsys):
    (folder / ".hidden.png").touch()
    (folder / "captions.json").touch()
    for _ in range(2):
        source, _ = pipeline.open_source(settings(folder))
    line = f"data: 20 images, 2 classes (even, odd), captions in {folder}; left out: 1 hidden"
    said = capsys.readouterr()
    assert said.out == f"{line} (.hidden.png), 1 .json (captions.json)\n"
    assert said.err.startswith("warning: not read in") and said.err.count("\n") == 1
    assert len(source) == COUNT


def test_every_image_comes_once_an_epoch_in_a_new_order(folder):
    seen = numbers(take(stream(settings(folder)), 10))
    first, second = seen[:COUNT], seen[COUNT:]
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != second


@pytest.mark.parametrize("count", [20, 7, 1])
def test_once_gives_each_of_some_images_once_and_in_order(folder, count):
    data = settings(folder, flip=True, crop="random")
    source, _ = pipeline.open_source(data)
    found = list(pipeline.once(data, source, count))
    assert [len(batch["image"]) for batch in found[:-1]] == [4] * (len(found) - 1)
    paths = [source[i * COUNT // count]["image"] for i in range(count)]
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    middle = transforms.normalize(pixels[:, :, 1:11])  # of 10 x 12 pixels, not mirrored
    np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in found]), middle)


def test_the_stream_depends_on_the_seed_alone(folder):
    random = {"crop": "random", "flip": True}
    expected = take(stream(settings(folder, **random)), 12)
    for threads in (0, 3):
        assert_same(expected, take(stream(settings(folder, threads=threads, **random)), 12))
    assert numbers(take(stream(settings(folder), seed=1), 12)) != numbers(expected)


def test_keeping_images_in_memory_changes_nothing(folder, monkeypatch):
    data = settings(folder, crop="random", flip=True)
    expected = take(stream(data), 12)
    monkeypatch.setattr(reader, "CACHE_BYTES", 0)
    assert_same(expected, take(stream(data), 12))


def test_a_second_epoch_reads_no_file(folder):
    iterator = stream(settings(folder, crop="random"), keys=())
    first = numbers(take(iterator, 5))
    for file in folder.rglob("*.png"):
        file.unlink()
    assert sorted(numbers(take(iterator, 5))) == sorted(first)


def test_crops_and_flips_differ_from_epoch_to_epoch(folder):
    iterator = stream(settings(folder, crop="random", flip=True))
    seen = [set() for _ in range(COUNT)]
    for batch in take(iterator, 40):
        for number, image in zip(numbers([batch]), batch["image"], strict=True):
            seen[number].add(image.tobytes())
    assert np.mean([len(variants) for variants in seen]) > 3


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_share_the_batches_of_one_host(folder, hosts):
    data = settings(folder, crop="random", flip=True)
    whole = take(stream(data), 10)
    parts = [take(stream(data, process_index=p, process_count=hosts), 10) for p in range(hosts)]
    for p, part in enumerate(parts):
        assert_same([{k: v[p::hosts] for k, v in batch.items()} for batch in whole], part)


def test_a_checkpoint_continues_with_exactly_the_next_batch(folder, tmp_path):
    damage(folder, 2)
    data = settings(folder, crop="random", flip=True)
    iterator = stream(data, seed=3)
    take(iterator, 7)  # into the second epoch
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        saved = ocp.args.Composite(
            state=ocp.args.StandardSave({"step": np.full(1, 7)}),
            data=grain.checkpoint.CheckpointSave(iterator),
        )
        checkpointer.save(tmp_path / "checkpoint", saved)
        expected = take(iterator, 8)

        resumed = stream(data, seed=3)
        next(resumed)
        restored = checkpointer.restore(
            tmp_path / "checkpoint",
            ocp.args.Composite(
                state=ocp.args.StandardRestore({"step": np.zeros(1, int)}),
                data=grain.checkpoint.CheckpointRestore(resumed),
            ),
        )
    assert restored.state["step"].tolist() == [7]
    assert_same(expected, take(resumed, 8))


def test_an_unreadable_image_is_named_once_and_skipped(folder, capfd):
    bad = damage(folder, 2)
    seen = numbers(take(stream(settings(folder)), 15))
    assert set(seen) == set(range(COUNT)) - bad
    warnings = capfd.readouterr().err.splitlines()
    assert len(warnings) == 2
    for number in bad:
        assert sum(f"{number:02}.png" in line for line in warnings) == 1


@pytest.mark.parametrize("threads", [0, 2])
def test_too_many_unreadable_images_stop_the_consumer(folder, threads):
    damage(folder, 5)
    iterator = stream(settings(folder, max_bad_images=4, threads=threads))
    message = refusal(take, iterator, 10)
    assert "5 images cannot be read" in message
    assert ".png" in message
    assert "--data.max-bad-images" in message


def test_nothing_but_unreadable_images_is_an_error_whatever_the_limit(folder):
    damage(folder, COUNT)
    before = threading.active_count()
    iterator = stream(settings(folder, max_bad_images=1000))
    assert f"{COUNT} images" in refusal(next, iterator)
    iterator.close()
    assert threading.active_count() <= before + 2


def test_a_file_that_vanishes_counts_as_unreadable(folder, capfd):
    iterator = stream(settings(folder, threads=0), keys=())
    (folder / "odd" / "01.png").unlink()
    assert 1 not in numbers(take(iterator, 5))
    assert "01.png" in capfd.readouterr().err


def test_a_small_image_is_refused_before_training(folder):
    Image.new("RGB", (9, 30)).save(folder / "odd" / "99.png")
    message = refusal(pipeline.open_source, settings(folder))
    for part in ("99.png", "9x30", "10", "--data.image-size", "--data.upscale"):
        assert part in message


def test_a_small_image_that_was_not_looked_at_is_refused_when_it_is_read(folder, monkeypatch):
    Image.new("RGB", (9, 30)).save(folder / "odd" / "99.png")
    monkeypatch.setattr(readable, "CHECKED_SIZES", 1)
    assert "99.png is 9x30" in refusal(take, stream(settings(folder), keys=()), 6)


def test_small_images_are_enlarged_where_that_is_wanted(folder):
    batch = next(stream(settings(folder, image_size=16, upscale=True)))
    assert batch["image"].shape == (4, 16, 16, 3)


def test_settings_that_do_not_suit_the_data_are_refused_at_once(folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i in range(4):
        Image.new("RGB", (10, 10)).save(flat / f"{i}.png")

    message = refusal(stream, settings(folder, batch_size=64))
    assert "20" in message and "64" in message and "--data.batch-size" in message
    assert "--data.batch-size" in refusal(stream, settings(folder), process_count=3)
    assert "caption" in refusal(stream, settings(flat), keys=("tokens",))
    assert "labels" in refusal(stream, settings(flat), keys=("label",))
    assert "--data.path" in refusal(pipeline.open_source, config.Data(image_size=8))
    assert "--data.image-size" in refusal(pipeline.open_source, config.Data(path=str(flat)))


def test_one_of_several_captions_is_drawn(tmp_path):
    rows = []
    for i in range(4):
        Image.new("RGB", (10, 10), (i, 0, 0)).save(tmp_path / f"{i}.png")
        rows.append(f'{{"file_name": "{i}.png", "text": ["{i}", "{i + 10}"]}}')
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    drawn = {}
    for batch in take(stream(settings(tmp_path), keys=("tokens",)), 20):
        for number, token in zip(numbers([batch]), batch["tokens"][:, 0], strict=True):
            drawn.setdefault(number, set()).add(int(token))
    assert drawn == {i: {i, i + 10} for i in range(4)}
