"""Layouts: boxes and what is in them, as tokens (Rombach et al. 2022, section 4.3.1).

The original's builder of conditions from objects and boxes, and its BERT-style encoder.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from ldm_jax.conditioning.condition import BuildContext, Condition, DataInfo
from ldm_jax.conditioning.given import Given, HeldOut
from ldm_jax.data import objects
from ldm_jax.data.metadata import is_box, nfc
from ldm_jax.encoders.transformer import TextTransformer
from ldm_jax.errors import InputError, reading
from ldm_jax.sections import Request, RunView
from ldm_jax.settings import AtLeast1, Fraction, MoreThan4
from ldm_jax.types import Array, Batch, Cond, Conditioner, Derive
from ldm_jax.weights.names.condition import ConditionNames, conditioner
from ldm_jax.weights.names.text import text_transformer


@dataclass(frozen=True)
class Boxes(Given):
    """Boxes, and what is in them."""

    key: ClassVar[str] = "layout"

    boxes: str | None = None
    """a .json of boxes [x, y, width, height, class] in parts of the image, or of several lists"""

    def read(self, request: Request, run: RunView) -> Batch:
        condition, layouts = run.condition(type(self)), load_layouts(self.boxes)
        longest = max(map(len, layouts))
        if longest > condition.max_objects:
            raise InputError(
                f"--boxes '{self.boxes}' has {longest} boxes: expected at most "
                f"{condition.max_objects}, as the model reads"
            )
        rows = [[[*box[:4], self._class(box[4], run)] for box in boxes] for boxes in layouts]
        rows = [np.array(row, np.float32).reshape(-1, 5) for row in rows]
        return {"boxes": np.stack([objects.padded(row, condition.max_objects) for row in rows])}

    def _class(self, kind: int | str, run: RunView) -> int:
        names, count = run.object_names, run.condition(type(self)).num_classes
        named = isinstance(kind, str) and nfc(kind) in names
        kind = names.index(nfc(kind)) if named else kind
        if not isinstance(kind, int) or not 0 <= kind < count:
            known = f", or one of {', '.join(names)}" if names else ""
            raise InputError(
                f"--boxes '{self.boxes}' has class {kind!r}: expected 0 to {count - 1}{known}"
            )
        return kind


def load_layouts(path: str) -> list[list[list]]:
    """The lists of boxes in a .json of one list, or of several.

    Raises:
        InputError: no such file, or not such a list.
    """
    with reading(f"--boxes '{path}'", "a .json of boxes"):
        found = json.loads(Path(path).read_text("utf-8-sig"))
    layouts = found if isinstance(found, list) and found and _is_layout(found[0]) else [found]
    if not all(map(_is_layout, layouts)) or not found:
        raise InputError(
            f"--boxes '{path}' is not a list of [x, y, width, height, class], the first four in "
            "parts of the image, from 0 to 1; or a list of such lists"
        )
    return layouts


def _is_layout(value: object) -> bool:
    return isinstance(value, list) and all(map(is_box, value))


@dataclass(frozen=True)
class Layout(Condition):
    """Boxes with classes as tokens, through a transformer; the original's layout2img.

    Three tokens per box, and two for the visible part of the image: 92.
    """

    num_classes: AtLeast1 | None = None  # None: as many as the boxes of the data have
    max_objects: AtLeast1 = 30  # boxes of an image that count
    vocab_size: MoreThan4 = 8192  # of classes and of corners: as many rows and columns as fit
    dim: AtLeast1 = 512  # width of the tokens
    layers: AtLeast1 = 16  # transformer blocks
    num_heads: AtLeast1 = 8  # attention heads
    head_dim: AtLeast1 = 64  # width of a head
    drop: Fraction = 0.1  # share of layouts dropped in training
    compute: Literal["float32", "bfloat16"] = "float32"  # but for sums, norms and softmax

    kind: ClassVar = "boxes"
    reads: ClassVar = ("boxes",)
    of_whole_image: ClassVar = True
    sections: ClassVar = (Boxes, HeldOut)
    has_weights: ClassVar = True

    @property
    def length(self) -> int:
        """Tokens."""
        return 3 * self.max_objects + 2

    @property
    def token_width(self) -> int | None:
        return self.dim

    def heads(self, prefix: str) -> list[tuple[str, int]]:
        return [(f"{prefix}num_heads", self.num_heads)]

    def check(self, prefix: str) -> None:
        rows = math.isqrt(self.vocab_size)
        if rows**2 == self.vocab_size or rows < 2:
            raise InputError(
                f"{prefix}vocab_size is {self.vocab_size}: expected more than 4 and no square, "
                "since its last token, which means none, would be the last place, too"
            )
        if self.num_classes and self.num_classes >= self.vocab_size:
            raise InputError(
                f"{prefix}num_classes is {self.num_classes}: expected less than "
                f"{prefix}vocab_size, which is {self.vocab_size}"
            )

    def fitted(self, info: DataInfo, prefix: str = "") -> Condition:
        return replace(self, num_classes=self.num_classes or len(info.object_names) or 1)

    def derive(self, factor: int) -> dict[str, Derive]:
        """In an order that is drawn, [max_objects, 5] float32, see `objects.padded`."""

        def make(example, rng):
            found = example["boxes"]
            if len(found) and found[:, 4].max() >= self.num_classes:
                raise InputError(
                    f"{example['name']} has a box of class {found[:, 4].max():g}: expected 0 to "
                    f"{self.num_classes - 1}; raise num_classes of Layout"
                )
            return objects.padded(found, self.max_objects, rng)

        return {"boxes": make}

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch["boxes"]` [B, max_objects, 5], see `tokens_of`; none at all: no
        condition."""
        network = TextTransformer(self, self.vocab_size)

        def init(key):
            return network.init(key, tokens_of(null(1)["boxes"], self.vocab_size))["params"]

        def apply(params, inputs):
            tokens = tokens_of(inputs["boxes"], self.vocab_size)
            return Cond(tokens=network.apply({"params": params}, tokens))

        def null(n, h=1, w=1):
            return {"boxes": jnp.full((n, self.max_objects, 5), -1.0)}

        return Conditioner(apply, null, ("boxes",), init)

    def names(self, channels: int) -> ConditionNames:
        return conditioner(text_transformer(self), tokens=self.dim)

    def takes(self, size: tuple[int, int]) -> str:
        return "--boxes FILE.json, a list of [x, y, width, height, class] in parts of the image"


def tokens_of(boxes: Array, vocab_size: int) -> Array:
    """[B, n, 5] -> [B, 3 n + 2] int32: class and two corners of each box, and two of the image.

    Args:
        boxes: x and y of the upper left corner, width and height, in [0, 1], and the class, which
            is negative where there is no box. A box beyond the image is cut at its border.
        vocab_size: the last token, vocab_size - 1, is padding.
    """
    none, rows = vocab_size - 1, math.isqrt(vocab_size)  # as many columns

    def place(x, y):
        x, y = (jnp.round(jnp.clip(p, 0.0, 1.0) * (rows - 1)).astype(jnp.int32) for p in (x, y))
        return y * rows + x

    x, y, width, height, kind = jnp.moveaxis(boxes, -1, 0)
    tokens = jnp.stack([kind.astype(jnp.int32), place(x, y), place(x + width, y + height)], axis=-1)
    tokens = jnp.where(kind[..., None] < 0, none, tokens)
    whole = jnp.broadcast_to(jnp.array([0, rows * rows - 1]), (len(boxes), 2))  # nothing is cut off
    return jnp.concatenate([tokens.reshape(len(boxes), -1), whole], axis=1).astype(jnp.int32)
