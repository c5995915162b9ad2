"""The `shapes` data set: drawn scenes (drawing.py) with captions. Nothing is downloaded."""

import io
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from PIL import Image

from ldm_jax.data import drawing
from ldm_jax.data.drawing import COLORS, POSITIONS, SHAPES, SIZES
from ldm_jax.data.settings import Shapes as ShapesSettings
from ldm_jax.data.tfds import quiet
from ldm_jax.errors import InputError
from ldm_jax.settings import check_ranges


@dataclass(eq=False, kw_only=True)  # TFDS allows neither frozen nor compared ones
class ShapesConfig(tfds.core.BuilderConfig):
    """Every number that determines the data set; its name contains them all."""

    resolution: int = 32
    settings: ShapesSettings = field(default_factory=ShapesSettings)


def shapes_config(image_size: int, shapes: ShapesSettings) -> ShapesConfig:
    """The TFDS config for these settings.

    Raises:
        InputError: for settings that no data set can have.
    """
    drawing.check_counts(shapes.min_objects, shapes.max_objects)
    check_ranges(shapes, "shapes.")
    if image_size < 16:  # where objects are a few pixels wide
        raise InputError(f"data.image_size is {image_size}: expected at least 16")
    return ShapesConfig(
        name=f"{image_size}px_{shapes.min_objects}to{shapes.max_objects}objects"
        f"_{shapes.num_train}train_{shapes.num_test}test",
        resolution=image_size,
        settings=shapes,
    )


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Drawn scenes of colored shapes; `tfds:shapes` once this module is imported."""

    VERSION = tfds.core.Version("1.0.0")  # raise it whenever a scene would look different
    BUILDER_CONFIGS = (shapes_config(32, ShapesSettings()),)
    code_path = epath.Path(__file__)  # TFDS's own way needs importlib_resources

    def __init__(self, *, file_format="array_record", **kwargs):
        super().__init__(file_format=file_format, **kwargs)  # TFDS's own default needs TensorFlow

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.resolution
        features = tfds.features
        tables = {"shape": SHAPES, "color": COLORS, "size": SIZES, "position": POSITIONS}
        kinds = {name: features.ClassLabel(names=list(table)) for name, table in tables.items()}
        objects = {"bbox": features.BBoxFeature(), **kinds}
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=features.FeaturesDict(
                {
                    "image": features.Image(shape=(size, size, 3), encoding_format="png"),
                    "text": features.Text(),
                    "label": features.ClassLabel(names=list(SHAPES)),
                    "objects": features.Sequence(objects),
                    "segmentation": features.Image(shape=(size, size, 1), encoding_format="png"),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # example i is scene i
        )

    def _split_generators(self, dl_manager) -> dict:
        return {split: self._generate_examples(split) for split in ("train", "test")}

    def _generate_examples(self, split: str) -> Iterator:
        for index in range(getattr(self.builder_config.settings, f"num_{split}")):
            yield index, example(self.builder_config, split, index)


def example(config: ShapesConfig, split: str, index: int) -> dict:
    """Scene number `index` of "train" or "test", with the features of `Shapes`.

    Neither the resolution nor the number of scenes changes which scene it is.
    """
    test = split == "test"
    counts = config.settings.min_objects, config.settings.max_objects
    rng = np.random.default_rng([int(test), index, *counts])
    scene = drawing.random_scene(rng, *counts, held_out=test)
    offsets = drawing.random_offsets(rng, scene)
    layers = drawing.layers(scene, config.resolution, offsets)
    boxes = drawing.boxes(scene, offsets).tolist()
    return {
        "image": _png(drawing.paint(layers, config.resolution)),
        "text": drawing.caption(scene),
        "label": drawing.label(scene),
        "objects": [
            {"bbox": tfds.features.BBox(*box), **asdict(thing)}
            for thing, box in zip(scene.objects, boxes, strict=True)
        ],
        "segmentation": _png(drawing.classify(layers, config.resolution)),
    }


def _png(image: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    file.seek(0)
    return file


def builder(
    image_size: int, shapes: ShapesSettings | None = None, data_dir: str | Path | None = None
) -> Shapes:
    """The data set, which is drawn if it does not exist; read it through `as_data_source`.

    Args:
        image_size: pixels a side.
        shapes: settings of the scenes and their number; None: the defaults.
        data_dir: of all data sets; None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Raises:
        InputError: for settings that no data set can have.
    """
    settings = shapes_config(image_size, shapes or ShapesSettings())
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")  # TFDS looks when imported, not now

    def build() -> Shapes:  # either in the list of configs of the class or unknown to it
        known = Shapes.builder_configs.get(settings.name, settings)
        return Shapes(config=known, data_dir=data_dir)

    with quiet(io.StringIO()):
        result = build()
        if result.is_prepared():
            return result
        # TFDS writes into a directory of its own and renames it at the end, so that a killed
        # process leaves nothing that looks complete. Of several at once, the first to rename wins.
        try:
            result.download_and_prepare()
        except OSError:
            result = build()
            if not result.is_prepared():
                raise
    return result
