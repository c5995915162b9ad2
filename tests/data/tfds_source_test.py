"""TFDS data sets are prepared and read without TensorFlow, and named in what is refused."""

import io
import json
import sys

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from ldm_jax import config
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError

COUNT = 12


class LdmTestPictures(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Arrays, encoded bytes, captions and labels, as published data sets have them."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tensorflow_datasets.core.BuilderConfig(name="plain"),
        tensorflow_datasets.core.BuilderConfig(name="other"),
    ]

    def _info(self):
        features = tensorflow_datasets.features
        return tensorflow_datasets.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict(
                {
                    "map": features.LabeledImage(labels=2, shape=(None, None, 1)),
                    "image": features.Image(shape=(10, 10, 3)),
                    "grey": features.Image(shape=(10, 10, 1)),
                    "class": features.ClassLabel(names=["even", "odd"]),
                    "text": features.Text(),
                    "captions": features.Sequence({"text": features.Text(), "id": np.int64}),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(), "test": self._generate_examples()}

    def _generate_examples(self):
        for i in range(COUNT):
            yield i, example(i)


class LdmTestWords(tensorflow_datasets.core.GeneratorBasedBuilder):
    """No images."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def _info(self):
        features = tensorflow_datasets.features
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=features.FeaturesDict({"text": features.Text()})
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"text": "a word"}


def photo(i):
    pixels = np.random.default_rng(i).integers(0, 256, (10, 10, 3), np.uint8)
    pixels[..., 0] = i
    return pixels


def example(i):
    image = photo(i)
    if i % 2:  # half of them encoded already
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        image = io.BytesIO(file.getvalue())
    return {
        "map": np.zeros((4, 4, 1), np.uint8),
        "image": image,
        "grey": photo(i)[..., :1],
        "class": i % 2,
        "text": f"image {i}",
        "captions": [{"text": f"image {i}", "id": 0}, {"text": f"number {i}", "id": 1}],
    }


@pytest.fixture(autouse=True, scope="module")
def data_dir(tmp_path_factory):
    """Where data sets lie, for this module."""
    place = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(place))
        yield place


def settings(path="tfds:ldm_test_pictures", **changes):
    defaults = {"image_size": 10, "batch_size": 4, "label": "class"}
    return config.Data(path=path, **(defaults | changes))


def refusal(**changes):
    with pytest.raises(InputError) as caught:
        pipeline.open_source(settings(**changes))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_data_set_is_prepared_and_read_without_tensorflow():
    source, info = pipeline.open_source(settings())
    assert info[:3] == (COUNT, ("even", "odd"), True)
    iterator = pipeline.batches(
        settings(),
        source,
        seed=0,
        keys=("label", "tokens"),
        tokenize={"tokens": lambda text: np.array([int(text.split()[-1])])},
    )
    for _ in range(COUNT // 4):
        batch = next(iterator)
        columns = (batch[key] for key in ("image", "label", "tokens"))
        for image, label, token in zip(*columns, strict=True):
            np.testing.assert_array_equal(np.rint((image + 1) * 127.5), photo(int(token[0])))
            assert label == token[0] % 2
    assert "tensorflow" not in sys.modules


def test_it_is_prepared_once(data_dir):
    pipeline.open_source(settings())
    files = {file: file.stat().st_mtime_ns for file in data_dir.rglob("*array_record*")}
    assert files
    pipeline.open_source(settings())
    assert files == {file: file.stat().st_mtime_ns for file in data_dir.rglob("*array_record*")}


def test_several_captions_are_read_by_their_path():
    source, _ = pipeline.open_source(settings(caption="captions/text"))
    number = source[0]["text"][0].split()[-1]
    assert source[0]["text"] == [f"image {number}", f"number {number}"]
    assert len(pipeline.captions(source)) == 2 * COUNT


def test_a_field_that_is_absent_is_named_with_those_there_are():
    source, info = pipeline.open_source(settings(caption="caption", label="label"))
    assert info[:3] == (COUNT, (), False)
    assert "text, captions/text with --data.caption" in source.absent["text"]
    assert "class with --data.label" in source.absent["label"]
    assert source[0].keys() == {"image", "name"}


def test_part_of_a_split_may_be_named():
    _, info = pipeline.open_source(settings(split="test[:50%]"))
    assert info.num_examples == COUNT // 2


def test_a_wrong_name_configuration_or_split_names_the_nearest():
    assert "did you mean tfds:mnist?" in refusal(path="tfds:mnits")
    assert "did you mean tfds:ldm_test_pictures/plain?" in refusal(
        path="tfds:ldm_test_pictures/plane"
    )
    assert "did you mean --data.split train?" in refusal(split="trian")
    assert "tfds:NAME" in refusal(path="tfds:huggingface:mnist")


def test_a_data_set_without_images_is_refused():
    assert "no images but text" in refusal(path="tfds:ldm_test_words")


def test_a_failed_preparation_says_why(monkeypatch):
    def fail(*_):
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(LdmTestPictures, "_split_generators", fail)
    assert "no network at all" in refusal(path="tfds:ldm_test_pictures/other")


def test_classes_of_others_in_a_prepared_data_set_are_not_imported(data_dir, monkeypatch):
    """TFDS imports what features.json names."""
    folder = data_dir / "shared_set" / "1.0.0"
    folder.mkdir(parents=True)
    (data_dir / "planted.py").write_text("open('executed', 'w')")
    monkeypatch.syspath_prepend(str(data_dir))
    monkeypatch.chdir(data_dir)
    said = {"name": "shared_set", "version": "1.0.0", "fileFormat": "array_record"}
    (folder / "dataset_info.json").write_text(json.dumps(said))
    for features in (
        {"pythonClassName": "planted.Feature"},
        {"type": "planted.Feature", "content": ""},
        {
            "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
            "featuresDict": {"features": {"a": {"pythonClassName": "planted.Feature"}}},
        },
    ):
        (folder / "features.json").write_text(json.dumps(features))
        assert "names 'planted.Feature': expected features of TFDS" in refusal(
            path="tfds:shared_set"
        )
        assert not (data_dir / "executed").exists()


def test_data_without_random_access_is_refused_with_a_remedy(data_dir):
    pipeline.open_source(settings())
    info = next(data_dir.rglob("plain/1.0.0/dataset_info.json"))
    before = info.read_text()
    info.write_text(json.dumps(json.loads(before) | {"fileFormat": "tfrecord"}))
    try:
        assert "TFDS_DATA_DIR" in refusal()
    finally:
        info.write_text(before)


def test_shapes_are_drawn_and_read():
    data = config.Data(
        path="shapes",
        image_size=16,
        batch_size=4,
        shapes=config.Shapes(num_train=6, num_test=2),
    )
    source, info = pipeline.open_source(data)
    assert info.num_examples == 6
    assert info.has_captions
    batch = next(pipeline.batches(data, source, seed=0, keys=("label",)))
    assert batch["image"].shape == (4, 16, 16, 3)
