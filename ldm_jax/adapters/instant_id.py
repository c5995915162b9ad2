"""InstantID: the identity of a face, and where its eyes, nose and mouth are (Wang et al. 2024).

A resampler makes tokens of a face's embedding. They are attended to beside the text, as an
IP-Adapter's; and IdentityNet, a ControlNet that reads an image of five points, attends to them in
place of the text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.adapters.adapter import add
from ldm_jax.adapters.controlnet import ControlNet, controlnet
from ldm_jax.adapters.image_encoder import ImageEncoder
from ldm_jax.adapters.ip_adapter import IPAdapter, crossed_width, image_tokens, ip_adapter
from ldm_jax.adapters.settings import AdapterSettings, Base
from ldm_jax.settings import AtLeast1, Levels, NotNegative
from ldm_jax.types import Adapter, Array, Batch, Cond, Params

# of eyes, nose and corners of the mouth, in the order of face detectors
COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
NOSE = 2  # to which a limb goes from each other point
RADIUS, HALF_WIDTH, DIMMED = 10, 4, 0.6  # of points, of limbs, in pixels; of the limbs' colors


@dataclass(frozen=True)
class InstantID(AdapterSettings):
    """An IP-Adapter and a ControlNet of one face; defaults are those of the published, for SDXL."""

    face_dim: AtLeast1 = 512  # of a face's embedding
    tokens: AtLeast1 = 16  # of a face
    width: AtLeast1 = 1280  # of the resampler
    depth: AtLeast1 = 4  # its blocks
    heads: AtLeast1 = 20  # its attention heads
    head_channels: AtLeast1 = 64  # of each
    stem: Levels = (16, 32, 96, 256)  # of IdentityNet's hint, see ControlNet
    identity_scale: NotNegative = 0.8  # of IdentityNet
    face_scale: NotNegative = 0.8  # of the attention to the face
    face: str = "face"  # entry of a batch with the face's embedding
    points: str = "points"  # and with the image of its points

    kind: ClassVar = "an InstantID"

    @property
    def beside_text(self) -> IPAdapter:
        """The face as an image prompt."""
        encoder = ImageEncoder(channels=self.face_dim)
        sizes = self.tokens, self.width, self.depth, self.heads, self.head_channels
        return IPAdapter("resampler", *sizes, encoder=encoder, entry=self.face)

    @property
    def identity_net(self) -> ControlNet:
        return ControlNet(stem=self.stem, entry=self.points)

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        crossed_width(base)
        self.identity_net.check(base, prefix)

    def named(self, name: str) -> Self:
        return replace(self, face=f"{self.face}.{name}", points=f"{self.points}.{name}")

    def build(self, base: Base) -> Adapter:
        return instant_id(self, base, crossed_width(base))


def instant_id(config: InstantID, base: Base, width: int) -> Adapter:
    """The adapter of a base with tokens of this width.

    It reads embeddings [B, face_dim] and images of five points [B, H, W, 3], see `drawn_points`.
    """
    prompt = config.beside_text
    beside = ip_adapter(prompt, base.model.backbone.sites, width)
    identity = controlnet(config.identity_net, base.experiment.model)

    def init(key: Array, params: Params) -> Params:
        first, second = jax.random.split(key)
        return {"face": beside.init(first, params), "identity": identity.init(second, params)}

    def encode(own: Params, inputs: Batch) -> dict[str, Any]:
        face = inputs[config.face][:, None, None]  # one image of one place
        return {
            "tokens": image_tokens(prompt, own["face"]["image"], face, width),
            "attention": beside.encode(own["face"], {config.face: face}),
            "points": identity.encode(own["identity"], inputs),
        }

    def signal(own: Params, hint: Mapping, z: Array, timestep: Array, cond: Cond) -> Cond:
        of_face = cond.replace(tokens=hint["tokens"], mask=None)
        added = identity.signal(own["identity"], hint["points"], z, timestep, of_face)
        attended = beside.signal(own["face"], hint["attention"], z, timestep, cond)
        found = add(Cond(), added, config.identity_scale, timestep)
        return add(found, attended, config.face_scale, timestep)

    def null(n: int, h: int, w: int) -> Batch:
        return {config.face: jnp.zeros((n, config.face_dim)), **identity.null(n, h, w)}

    keys = (config.face, config.points)
    return Adapter(init, keys, null, dropped=keys[:1], encode=encode, signal=signal)


def drawn_points(points: Sequence[tuple[float, float]], size: tuple[int, int]) -> np.ndarray:
    """The image of a face's five points, float32 [H, W, 3], 0 to 1.

    Limbs are ellipses from each point to the nose, in the colour of the point, dimmed; points are
    discs over them.

    Args:
        points: x and y in pixels, of the eyes, the nose and the corners of the mouth.
        size: H and W.
    """
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    image = np.zeros((*size, 3), np.float32)
    nose = np.asarray(points[NOSE], np.float32)
    for i, point in enumerate(points):
        if i == NOSE:
            continue
        along = np.asarray(point, np.float32) - nose
        (cx, cy), length = nose + along / 2, max(float(np.hypot(*along)), 1e-6)
        c, s = along / length
        u, v = (x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s
        image[(2 * u / length) ** 2 + (v / HALF_WIDTH) ** 2 <= 1] = COLORS[i]
    image = np.floor(DIMMED * image)
    for (px, py), color in zip(points, COLORS, strict=True):
        image[(x - px) ** 2 + (y - py) ** 2 <= RADIUS**2] = color
    return image / 255.0
