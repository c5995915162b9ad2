"""Any TensorFlow Datasets data set as a random-access source, without TensorFlow."""

from difflib import get_close_matches
from typing import Any

from ldm_jax.errors import InputError


class Source:
    """A split of a prepared builder, as a random-access source of records.

    A record is a dict: `image`, encoded bytes of the first image feature; `name`, for messages;
    `label`, an int, and `text`, a str or a list of them, where the data set has them.
    """

    def __init__(self, builder: Any, split: str, *, caption: str, label: str):
        import tensorflow_datasets as tfds

        features = builder.info.features
        self.name = f"tfds:{builder.info.full_name} {split}"
        self.absent: dict[str, str] = {}  # what the records lack -> why, and a remedy
        self._image = _image_feature(features, self.name)
        self._fields = {}
        for field, feature, usable, flag in (
            ("text", caption, _is_text, "caption"),
            ("label", label, _is_label, "label"),
        ):
            if feature in features and usable(features[feature]):
                self._fields[field] = feature
            else:
                fitting = [name for name in features if usable(features[name])]
                self.absent[field] = (
                    f"{self.name} has no {flag} feature {feature!r}: choose from "
                    f"{', '.join(fitting) or 'none'} with --data.{flag}"
                )
        self.class_names = _class_names(features, self._fields.get("label"))
        wanted = {self._image: True} | {feature: True for feature in self._fields.values()}
        try:
            self._records = builder.as_data_source(
                split=split,
                decoders=tfds.decode.PartialDecoding(
                    wanted, decoders={self._image: tfds.decode.SkipDecoding()}
                ),
            )
        except ValueError as error:
            splits = list(builder.info.splits)
            near = (get_close_matches(split, splits) or splits or ["train"])[0]
            raise InputError(
                f"data.split {split!r} is not a split of {self.name}, which has "
                f"{', '.join(splits)}: did you mean --data.split {near}?"
            ) from error

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._records[index]
        record = {"image": example[self._image], "name": f"{self.name} example {index}"}
        if "label" in self._fields:
            record["label"] = int(example[self._fields["label"]])
        if "text" in self._fields:
            record["text"] = _as_text(example[self._fields["text"]])
        return record

    def __repr__(self) -> str:
        return f"Source({self.name!r}, {len(self)} examples)"


def _image_feature(features: Any, name: str) -> str:
    import numpy as np
    import tensorflow_datasets as tfds

    for key, feature in features.items():
        if type(feature) is tfds.features.Image and feature.np_dtype != np.float32:
            return key
    raise InputError(f"{name} has no image feature but {', '.join(features)}: choose another")


def _is_text(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    feature = getattr(feature, "feature", feature)  # of a sequence, what it is a sequence of
    return isinstance(feature, tfds.features.Text)


def _is_label(feature: Any) -> bool:
    import numpy as np

    return feature.shape == () and np.issubdtype(feature.np_dtype, np.integer)


def _class_names(features: Any, label: str | None) -> tuple[str, ...]:
    import tensorflow_datasets as tfds

    if label is None or not isinstance(features[label], tfds.features.ClassLabel):
        return ()
    return tuple(features[label].names)


def _as_text(value: Any) -> str | list[str]:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    return [_as_text(item) for item in value]
