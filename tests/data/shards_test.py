"""Images in parquet files and tars are read as the same images in a folder are."""

import io
import json
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ldm_jax import config
from ldm_jax.data import parquet, pipeline
from ldm_jax.data.folder import open_folder
from ldm_jax.errors import InputError
from ldm_jax.evaluate import clip_score, sets
from ldm_jax.tools import hints

COUNT = 12
NAMES = ["even", "odd", "none"]  # of classes; not in sorted order, and the last has no image


def encoded(i):
    pixels = np.random.default_rng(i).integers(0, 256, (8, 9, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def features(**columns):
    """The schema's metadata, as the library `datasets` writes them."""
    return {"huggingface": json.dumps({"info": {"features": columns}})}


def write_parquet(path, images, group=3, names=NAMES, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    table = pa.table({"image": [{"bytes": x, "path": "a.png"} for x in images], **columns})
    pq.write_table(table.replace_schema_metadata(features(**said)), path, row_group_size=group)


def write_tar(path, members, form="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, form) as tar:
        for name, content in members.items():
            content = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def as_folder(root):
    root.mkdir()
    rows = []
    for i in range(COUNT):
        (root / f"{i:02}.png").write_bytes(encoded(i))
        rows.append({"file_name": f"{i:02}.png", "text": f"number {i}", "label": i % 2})
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def as_metadata_parquet(root):
    as_folder(root)
    lines = (root / "metadata.jsonl").read_text().splitlines()
    (root / "metadata.jsonl").unlink()
    pq.write_table(pa.Table.from_pylist(list(map(json.loads, lines))), root / "metadata.parquet")


def as_parquet(root):
    for shard, rows in enumerate((range(7), range(7, COUNT))):
        write_parquet(
            root / f"data/train-{shard:05}-of-00002.parquet",
            [encoded(i) for i in rows],
            text=[f"number {i}" for i in rows],
            label=[i % 2 for i in rows],
        )
    write_parquet(root / "data/test-00000-of-00001.parquet", [encoded(99)], text=["x"], label=[-1])
    (root / "README.md").write_text("about")


def as_tars(root):
    for shard, rows in enumerate((range(7), range(7, COUNT))):
        members = {}
        for i in rows:
            members[f"./{i:03}.json"] = json.dumps({"caption": "other", "width": 9})
            members[f"./{i:03}.PNG"] = encoded(i)
            members[f"./{i:03}.txt"] = f"number\n{i} "
            members[f"./{i:03}.cls"] = str(i % 2)
        write_tar(root / f"{shard:05}.tar", members)


LAYOUTS = [as_metadata_parquet, as_parquet, as_tars]


def settings(root, **changes):
    return config.Data(path=str(root), **{"image_size": 8, "batch_size": 4} | changes)


def taken(root, count=7, **hosts):
    data = settings(root, crop="random", flip=True)
    source, _ = pipeline.open_source(data)
    tokenize = {"tokens": lambda text: np.array([int(text.split()[1])])}
    keys = ("label", "tokens")
    stream = pipeline.batches(data, source, seed=5, keys=keys, tokenize=tokenize, **hosts)
    return [next(stream) for _ in range(count)]


def assert_same(a, b):
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("write", LAYOUTS)
def test_a_stream_is_that_of_the_same_images_in_a_folder(tmp_path, write):
    as_folder(tmp_path / "folder")
    write(tmp_path / "other")
    expected = taken(tmp_path / "folder")
    assert_same(expected, taken(tmp_path / "other"))
    part = taken(tmp_path / "other", process_index=1, process_count=2)
    assert_same([{k: v[1::2] for k, v in batch.items()} for batch in expected], part)


@pytest.mark.parametrize("write", LAYOUTS)
def test_what_is_cached_and_evaluated_is_that_of_a_folder(tmp_path, write):
    as_folder(tmp_path / "folder")
    write(tmp_path / "other")

    def in_order(root):
        source, _ = pipeline.open_source(settings(root))
        found = pipeline.in_order(settings(root), source, range(3, 9), ("tokens",))
        return [(x["image"].tobytes(), x["text"]) for x in found]

    assert in_order(tmp_path / "folder") == in_order(tmp_path / "other")

    def measured(root):
        found = sets.open_set(str(root))
        return next(found.batches(found.count, found.count))[-COUNT:]  # after those of other splits

    np.testing.assert_array_equal(measured(tmp_path / "other"), measured(tmp_path / "folder"))


def test_hints_and_captions_are_those_of_the_images_in_shards(tmp_path):
    as_tars(tmp_path / "tars")
    assert clip_score.captions_of(tmp_path / "tars", 2)[10] == "number 10"
    assert hints.make_hints("canny", str(tmp_path / "tars"), tmp_path / "made", None) == COUNT
    found = opened(tmp_path / "made")[7]
    assert found["text"] == "number 7" and found["conditioning_image"].endswith("/000007.png")
    assert np.array_equal(hints.opened(found["image"]), hints.opened(encoded(7)))


def opened(root, split="train", caption="text", label="label"):
    return open_folder(str(root), split=split, caption=caption, label=label)


def refusal(root, **options):
    with pytest.raises(InputError) as caught:
        opened(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_numbers_of_a_hub_have_the_names_of_its_classes(tmp_path):
    as_parquet(tmp_path)
    folder = opened(tmp_path)
    assert folder.class_names == tuple(NAMES)
    assert [record["label"] for record in folder] == [i % 2 for i in range(COUNT)]
    assert folder[8]["name"] == f"{tmp_path}/data/train-00001-of-00002.parquet row 1"
    assert "1 of other splits (data/test-00000-of-00001.parquet)" in folder.left_out
    assert "data/)" not in folder.left_out


def test_shards_of_the_split_are_read_and_others_named(tmp_path):
    as_parquet(tmp_path)
    folder = opened(tmp_path, split="test")
    assert len(folder) == 1
    assert "row 0 has label -1" in folder.absent["label"]
    assert "of the split 'val' but of test, train" in refusal(tmp_path, split="val")


def test_row_groups_are_read_one_at_a_time_and_a_few_are_kept(tmp_path, monkeypatch):
    as_parquet(tmp_path)
    folder, read = opened(tmp_path), []
    real = pq.ParquetFile.read_row_group

    def counted(file, group, **options):
        read.append(group)
        return real(file, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    monkeypatch.setattr(parquet, "KEPT", 0)  # so that only the last is kept
    parquet.Column.kept.clear()
    contents = [folder[i]["image"]() for i in (0, 2, 6, 5, 1)]
    assert contents == [encoded(i) for i in (0, 2, 6, 5, 1)]
    assert read == [0, 2, 1, 0]


def test_further_images_of_a_row_are_what_a_controlnet_follows(tmp_path):
    hints = [{"bytes": encoded(10 + i), "path": None} for i in range(3)]
    write_parquet(
        tmp_path / "a.parquet",
        list(map(encoded, range(3))),
        conditioning_image=hints,
        vector=[[0.5]] * 3,
    )
    folder = opened(tmp_path)
    assert folder[2]["conditioning_image"]() == encoded(12)
    assert folder.left_out == "1 columns (vector)"


def test_a_row_without_an_image_is_skipped_by_name(tmp_path, capfd):
    write_parquet(tmp_path / "a.parquet", [encoded(0), None, encoded(2)])
    data = settings(tmp_path, batch_size=1)
    source, _ = pipeline.open_source(data)
    assert len(list(pipeline.in_order(data, source, range(3), ()))) == 2
    assert "a.parquet row 1: has no bytes of an image (1 of 10)" in capfd.readouterr().err


def test_what_is_no_image_set_in_parquet_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"url": ["x"], "caption": ["y"]}), path)
    assert "a.parquet has no column of images but url, caption" in refusal(tmp_path)
    path.write_bytes(b"PAR1 and no more")
    assert "a.parquet' cannot be read" in refusal(tmp_path)
    write_parquet(path, [])
    assert "has no" in refusal(tmp_path)
    write_parquet(path, [encoded(0)], label=[7])
    assert "row 0 has label 7: expected one of 3 classes" in opened(tmp_path).absent["label"]
    write_parquet(tmp_path / "b.parquet", [encoded(0)], label=[0], names=["a"])
    assert "b.parquet has other names of the classes of 'label'" in refusal(tmp_path)


def test_metadata_in_parquet_name_their_rows(tmp_path):
    as_metadata_parquet(tmp_path / "set")
    table = pa.table({"file_name": ["00.png", "99.png"], "text": ["a", None]})
    pq.write_table(table, tmp_path / "set/metadata.parquet")
    assert "metadata.parquet row 1 names 99.png" in refusal(tmp_path / "set")
    pq.write_table(table.slice(0, 1), tmp_path / "set/metadata.parquet")
    assert "11 without a line in metadata.parquet" in opened(tmp_path / "set").left_out


def test_what_a_tar_has_beside_samples_is_counted_and_never_read(tmp_path):
    class Opened:
        def __reduce__(self):
            return (Image.new, ("RGB", (1, 1)))  # would be called, if anything were unpickled

    members = {"a.jpg": encoded(0), "a.conditioning_image.png": encoded(1), "a.seg.png": encoded(2)}
    members |= {"a.pyd": pickle.dumps(Opened()), "a.pickle": pickle.dumps(Opened())}
    members |= {"b.txt": "no image", "._a.jpg": "resource", "a.webp": encoded(3), "a.cls": "cat"}
    write_tar(tmp_path / "0.tar", members)
    (tmp_path / "0.parquet").write_bytes(b"")  # of img2dataset, beside its tar
    folder = opened(tmp_path)
    assert len(folder) == 1 and folder[0]["image"]() == encoded(0)
    assert folder[0]["conditioning_image"]() == encoded(1)
    assert folder.class_names == ("cat",)
    for said in ("1 .pyd (0.tar/a.pyd)", "1 .pickle", "1 hidden", "1 .png (0.tar/a.seg.png)"):
        assert said in folder.left_out
    for said in ("1 further images of a sample (a.webp)", "1 samples without an image (0.tar/b)"):
        assert said in folder.left_out
    assert "1 .parquet (0.parquet)" in folder.left_out


def test_other_captions_of_a_tar_are_chosen_by_name(tmp_path):
    as_tars(tmp_path)
    assert opened(tmp_path, caption="caption")[3]["text"] == "other"
    assert opened(tmp_path)[3]["text"] == "number 3"
    assert opened(tmp_path)[3]["name"] == f"{tmp_path}/00000.tar/003.PNG"


@pytest.mark.parametrize("said", ["a.json cannot be read", "a.txt is not UTF-8", "a.txt has"])
def test_a_damaged_text_in_a_tar_is_named(tmp_path, said, monkeypatch):
    text = b"\xff" if "UTF-8" in said else b"fine"
    json_text = "[1]" if "json" in said else "{}"
    if said == "a.txt has":
        monkeypatch.setattr("ldm_jax.data.tars.MOST", 3)
    write_tar(tmp_path / "0.tar", {"a.png": encoded(0), "a.txt": text, "a.json": json_text})
    assert f"0.tar/{said}" in refusal(tmp_path)


def test_a_tar_that_is_cut_off_damaged_or_compressed_is_refused(tmp_path):
    path = tmp_path / "0.tar"
    write_tar(path, {f"{i}.png": encoded(i) for i in range(3)})
    whole = path.read_bytes()
    path.write_bytes(whole[:1600])
    assert "it ends within 1.png" in refusal(tmp_path)
    path.write_bytes(whole[:1024] + b"x" * 512 + whole[1536:])
    assert "it is damaged at byte 1024" in refusal(tmp_path)
    write_tar(path, {"a.txt": "no image"})
    assert "0.tar has no images" in refusal(tmp_path)
    write_tar(path, {"a.png": encoded(0)}, "w:gz")
    assert "0.tar' cannot be read" in refusal(tmp_path)
    path.rename(tmp_path / "0.tar.gz")
    assert "0.tar.gz is compressed" in refusal(tmp_path)
    write_tar(path, {"a.png": encoded(0)})
    assert "give the folder that it is in" in refusal(path)
