"""Any TensorFlow Datasets data set as a random-access source, without TensorFlow."""

import contextlib
import glob
import importlib.util
import io
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import reduce
from operator import getitem
from types import SimpleNamespace
from typing import Any, TextIO

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.download import downloader
from tensorflow_datasets.core.features.feature import FeatureConnector
from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow as lazy

from ldm_jax.data import faces
from ldm_jax.data.maps import MAPS
from ldm_jax.errors import InputError, reason

OWN_FEATURES = re.compile(r"tensorflow_datasets\.core\.features(\.\w+)+")


class Source:
    """A split of a prepared builder, as a random-access source of records.

    A record is a dict: `image`, encoded bytes of the first image feature; `name`, for messages;
    and where the data set has them, `label`, an int, `text`, a str or a list of them, `boxes`, see
    `objects`, and `maps.MAPS` by name, encoded bytes of the features of these names.
    """

    def __init__(
        self, builder: Any, *, split: str, caption: str, label: str, object_label: str | None = None
    ):
        features = builder.info.features
        data_set = f"tfds:{builder.info.full_name}"
        self.name = f"{data_set} {split}"
        self.absent = faces.absent(data_set)  # missing fields -> why, and a remedy
        self._image = _image_feature(features, data_set)
        self._keys: dict[str, tuple[str, ...]] = {}  # "label", "text" -> its path in an example
        for field, path, kind, flag in (
            ("label", label, tfds.features.ClassLabel, "label"),
            ("text", caption, tfds.features.Text, "caption"),
        ):
            found = {"/".join(keys): keys for keys in _leaves(features, kind)}
            if path in found:
                self._keys[field] = found[path]
            else:
                self.absent[field] = (
                    f"{data_set} has no {flag} feature {path!r}: "
                    f"choose from {', '.join(found) or 'none'} with --data.{flag}"
                )
        labels = "label" in self._keys and reduce(getitem, self._keys["label"], features)
        self.class_names = tuple(labels.names) if labels else ()
        self._boxes = _find_boxes(features, object_label, data_set)
        self.object_names: tuple[str, ...] = ()
        if self._boxes:
            self.object_names = tuple(features[self._boxes[0]].feature[self._boxes[2]].names)
        else:
            self.absent["boxes"] = f"{data_set} has no boxes with classes: use another data set"
        images = [key for key, feature in features.items() if type(feature) is tfds.features.Image]
        self._maps = [name for name in MAPS if name in images]
        for name in MAPS.keys() - images:
            self.absent[name] = (
                f"{data_set} has no image feature {name!r}: use another data set, or a folder with "
                "metadata.jsonl"
            )
        self._examples = _examples(builder, split, data_set)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._examples[index]
        record = {"image": example[self._image], "name": f"{self.name} example {index}"}
        for field, keys in self._keys.items():
            value = reduce(getitem, keys, example)
            record[field] = int(value) if field == "label" else _as_text(value)
        if record.get("label", 0) < 0:  # as in test splits of some data sets
            raise InputError(f"{record['name']} has no label: choose another --data.split")
        if self._boxes:
            objects, corners, kind = self._boxes
            record["boxes"] = _as_boxes(example[objects][corners], example[objects][kind])
        return record | {name: example[name] for name in self._maps}


def builder(name: str) -> Any:
    """The builder of `NAME` or `NAME/CONFIG`, downloaded and prepared if it does not exist.

    `:VERSION` may follow. Data sets are in $TFDS_DATA_DIR, else in ~/tensorflow_datasets.

    Raises InputError where there is no such data set, or it cannot be prepared here.
    """
    if not re.fullmatch(r"\w+(/[^:]+)?(:[\d.]+)?", name):
        raise InputError(f"tfds:{name} is not of the form tfds:NAME or tfds:NAME/CONFIG")
    with quiet(sys.stderr), _without_tensorflow(), _own_features_only():
        try:
            # TFDS itself reads the environment when it is imported, which may be too early.
            found = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
        except InputError:
            raise
        except Exception as error:
            raise InputError(_unknown(name, error)) from error
        if found.is_prepared():
            return found
        downloader.MAX_RETRIES = 3  # with the ten of TFDS, no network takes minutes to report
        try:
            found.download_and_prepare(
                file_format="array_record",
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
        except Exception as error:
            raise InputError(
                f"tfds:{name} is not in {found.data_dir} and cannot be prepared here "
                f"({reason(error)}): {_remedy(error)}"
            ) from error
    return found


def _unknown(name: str, error: Exception) -> str:
    """The message where TFDS finds no builder of that name."""
    data_set, _, settings = re.sub(r":[\d.]+$", "", name).partition("/")
    known = tfds.list_builders(with_community_datasets=False)
    if data_set not in known:
        near = get_close_matches(data_set, known, n=1)
        hint = f"did you mean tfds:{near[0]}?" if near else "see tensorflow.org/datasets/catalog"
        return f"tfds:{name} is not a data set that TFDS knows: {hint}"
    configs = [config.name for config in tfds.builder_cls(data_set).BUILDER_CONFIGS]
    if settings and settings not in configs:
        near = get_close_matches(settings, configs, n=1) or configs[:1]
        hint = f"did you mean tfds:{data_set}/{near[0]}?" if near else f"use tfds:{data_set}"
        return f"tfds:{data_set} has no configuration {settings!r}: {hint}"
    return f"tfds:{name} cannot be used here ({reason(error)}): {_remedy(error)}"


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError) and error.name:
        return f"pip install {error.name}"
    return "prepare it where that works (tfds build --file_format=array_record) and copy it there"


def _examples(builder: Any, split: str, data_set: str) -> Any:
    """The data source of a split; its images are left encoded."""
    # Images are decoded by `transforms`, and segmentation maps not at all.
    features = builder.info.features
    encoded = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    decoders = {key: tfds.decode.SkipDecoding() for key in encoded}
    try:
        return builder.as_data_source(split=split, decoders=decoders)
    except NotImplementedError as error:
        raise InputError(
            f"{data_set} in {builder.data_dir} was prepared as {builder.info.file_format.value}, "
            "which has no random access: remove it, or set TFDS_DATA_DIR to another folder, "
            "and it is prepared again"
        ) from error
    except ValueError as error:
        splits = sorted(builder.info.splits)
        near = (get_close_matches(split, splits, n=1) or splits or ["train"])[0]
        raise InputError(
            f"{data_set} has no split {split!r} but {', '.join(splits)}: "
            f"did you mean --data.split {near}?"
        ) from error


def _image_feature(features: Any, data_set: str) -> str:
    """The first feature that is an image: not a segmentation map, not a map of floats."""
    for key, feature in features.items():
        if type(feature) is tfds.features.Image and feature.np_dtype != np.float32:
            return key
    raise InputError(f"{data_set} has no images but {', '.join(features)}: choose another data set")


def _leaves(features: Any, kind: type, within: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of the features of a kind. Of sequences only text is used."""
    for key, feature in features.items():
        if kind is tfds.features.Text and isinstance(feature, tfds.features.Sequence):
            feature = feature.feature
        if isinstance(feature, tfds.features.FeaturesDict):
            yield from _leaves(feature, kind, (*within, key))
        elif isinstance(feature, kind):
            yield (*within, key)


def _find_boxes(features: Any, label: str | None, data_set: str) -> tuple[str, str, str] | None:
    """The feature that lists objects, and its features with their boxes and classes.

    Raises InputError where the objects have no feature called `label`.
    """
    for key, feature in features.items():
        parts = getattr(feature, "feature", None)
        if not isinstance(feature, tfds.features.Sequence) or not hasattr(parts, "items"):
            continue
        boxes = [k for k, f in parts.items() if isinstance(f, tfds.features.BBoxFeature)]
        kinds = [k for k, f in parts.items() if isinstance(f, tfds.features.ClassLabel)]
        if label and boxes and label not in kinds:
            raise InputError(
                f"{data_set} has no class {label!r} of objects: choose from "
                f"{', '.join(kinds) or 'none'} with --data.object-label"
            )
        if boxes and kinds:
            usual = next((k for k in ("label", "shape") if k in kinds), kinds[0])
            return key, boxes[0], label or usual
    return None


def _as_boxes(corners: Any, kinds: Any) -> np.ndarray:
    """(ymin, xmin, ymax, xmax) and classes to rows x, y, width, height, class."""
    corners = np.asarray(corners, np.float32).reshape(-1, 4)
    y, x, bottom, right = corners.T
    return np.stack([x, y, right - x, bottom - y, np.asarray(kinds, np.float32)], axis=1)


def _as_text(value: Any) -> str | list[str]:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else [_as_text(item) for item in value] or [""]


@contextlib.contextmanager
def quiet(output: TextIO) -> Iterator[None]:
    """Without log lines; what is printed goes to `output`, progress to a terminal alone."""
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(output):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _own_features_only() -> Iterator[None]:
    """Refuses a data set whose features.json names classes outside of TFDS: it imports them.

    A prepared data set may come from anyone, and importing a module executes it.
    """
    imported, own = FeatureConnector.cls_from_name, vars(FeatureConnector)["cls_from_name"]

    def known(name: str) -> type:
        if name in FeatureConnector._registered_features or OWN_FEATURES.fullmatch(name):
            return imported(name)
        raise InputError(f"features.json of a data set names '{name}': expected features of TFDS")

    FeatureConnector.cls_from_name = staticmethod(known)
    try:
        yield
    finally:
        FeatureConnector.cls_from_name = own


@contextlib.contextmanager
def _without_tensorflow() -> Iterator[None]:
    """Lets TFDS prepare data sets where TensorFlow is not installed.

    TFDS and its data sets use TensorFlow through one module object that is imported at first use.
    Preparing images uses only file access and two encoders of it, so for a while that object is
    replaced by these.
    """
    if importlib.util.find_spec("tensorflow") is not None:
        yield
        return
    vars(lazy)["_module"] = _TENSORFLOW
    try:
        yield
    finally:
        vars(lazy).pop("_module", None)


def _encoder(file_format: str) -> Callable[..., SimpleNamespace]:
    def encode(pixels: np.ndarray) -> SimpleNamespace:  # [H, W, C] -> an object with the bytes
        file = io.BytesIO()
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        image.save(file, file_format, quality=95)
        return SimpleNamespace(numpy=file.getvalue)

    return encode


_TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
_TYPES += ("float16", "float32", "float64")


class _Errors:
    """TensorFlow's errors by name, none of which is ever raised."""

    def __getattr__(self, name: str) -> type[Exception]:
        return type(name, (Exception,), {})


_TENSORFLOW = SimpleNamespace(
    io=SimpleNamespace(
        gfile=SimpleNamespace(
            GFile=open,
            copy=lambda source, target, overwrite=False: shutil.copyfile(source, target),
            exists=os.path.exists,
            glob=lambda pattern: sorted(glob.glob(os.fspath(pattern))),
            isdir=os.path.isdir,
            listdir=os.listdir,
            makedirs=lambda path: os.makedirs(path, exist_ok=True),
            remove=os.remove,
            rename=lambda source, target, overwrite=False: os.replace(source, target),
            walk=os.walk,
        )
    ),
    image=SimpleNamespace(encode_png=_encoder("PNG"), encode_jpeg=_encoder("JPEG")),
    compat=SimpleNamespace(as_text=lambda text: text if isinstance(text, str) else text.decode()),
    errors=_Errors(),
    executing_eagerly=lambda: True,
    **{name: getattr(np, name) for name in _TYPES},
    bool=np.bool_,
    string=np.object_,
)
