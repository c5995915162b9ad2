"""InstantID: the identity of a face, and where its eyes, nose and mouth are (Wang et al. 2024).

A resampler makes tokens of a face's embedding. They are attended to beside the text, as an
IP-Adapter's; and IdentityNet, a ControlNet that reads an image of five points, attends to them in
place of the text.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ldm_jax.adapters import face_network
from ldm_jax.adapters.controlnet import ControlNet, controlnet, outputs
from ldm_jax.adapters.hint import Hints, read_hint
from ldm_jax.adapters.image_encoder import ImageEncoder
from ldm_jax.adapters.ip_adapter import IPAdapter, crossed_width, crossing, image_tokens, ip_adapter
from ldm_jax.adapters.settings import AdapterSection, AdapterSettings, Arrays, Base
from ldm_jax.data import faces, key_points
from ldm_jax.data.given import load_image, load_rows
from ldm_jax.errors import InputError
from ldm_jax.extractors import dlib_face
from ldm_jax.settings import AtLeast1, Levels, NotNegative, Positive
from ldm_jax.types import Adapter, Array, Batch, Cond, Derive, Params
from ldm_jax.weights.formats import instant_id_folder
from ldm_jax.weights.formats.diffusers_folder import CONFIG

# of eyes, nose and corners of the mouth, in the order of face detectors
COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
NOSE = 2  # to which a limb goes from each other point


@dataclass(frozen=True)
class Faces(AdapterSection):
    """Faces, and how much they count."""

    key: ClassVar[str] = "faces"
    files: ClassVar = {"face": "FACE.npy"}

    face: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME=]FACE.npy ...")] = ()
    """embeddings of faces, cycled, for InstantID"""
    identity_scale: NotNegative | None = None
    """how much InstantID's IdentityNet counts, which follows the five points"""
    face_scale: NotNegative | None = None
    """how much InstantID's attention to the face counts, beside that to the text"""


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
    # the network that embeds images of faces; None: their embeddings are given
    network: Literal["dlib"] | None = None
    network_file: str | None = None  # its weights, as npm's @vladmandic/face-api has them
    radius: Positive = 10.0  # of drawn points, in pixels
    half_width: Positive = 4.0  # of the limbs between them
    identity_scale: NotNegative = 0.8  # of IdentityNet, in sampling
    face_scale: NotNegative = 0.8  # of the attention to the face, in sampling
    face: str = "face"  # entry of a batch with the face's embedding
    points: str = "points"  # and with the image of its points

    kind: ClassVar = "an InstantID"
    sections: ClassVar = (Faces, Hints)

    @property
    def beside_text(self) -> IPAdapter:
        """The face as an image prompt."""
        encoder = ImageEncoder(channels=self.face_dim)
        sizes = self.tokens, self.width, self.depth, self.heads, self.head_channels
        return IPAdapter("resampler", *sizes, encoder=encoder, entry=self.face)

    @property
    def identity_net(self) -> ControlNet:
        return ControlNet(stem=self.stem, entry=self.points, layout="diffusers")

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        crossed_width(base)
        self.identity_net.check(base, prefix)
        if self.network and self.face_dim != dlib_face.DIM:
            raise InputError(
                f"{prefix}face_dim is {self.face_dim}: expected {dlib_face.DIM}, those of "
                f"{prefix}network '{self.network}'"
            )

    @property
    def fields(self) -> tuple[str, ...]:
        return ("points",) if self.network else ("face", "points")

    def named(self, name: str) -> Self:
        return replace(self, face=f"{self.face}.{name}", points=f"{self.points}.{name}")

    def build(self, base: Base) -> Adapter:
        return instant_id(self, base, crossed_width(base))

    def derive(self, factor: int) -> dict[str, Derive]:
        """Examples have both, see `data.faces`; or the network embeds the face about the points."""

        def face(example: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
            if self.network:
                cut = dlib_face.aligned(example["image"], example["points"])
                return face_network.embedded(cut, self.network_file)
            if example["face"].shape != (self.face_dim,):
                raise InputError(
                    f"the face of {example['name']} has {example['face'].size} numbers: expected "
                    f"adapter.face_dim {self.face_dim}"
                )
            return example["face"]

        def points(example: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
            return self.drawn(example["points"], example["image"].shape[:2])

        return {self.face: face, self.points: points}

    def given(self, options: Mapping[str, Any], size: tuple[int, int], data: Any) -> Batch:
        """A face is an embedding or an image; a hint the image of points, or points in numbers."""
        each = [self.read_face(file, data) for file in options["face"]]
        hints = [self.read_points(file, size, data) for file in options["hint"]]
        return {self.face: np.concatenate(each), self.points: np.concatenate(hints)}

    def read_face(self, file: str, data: Any) -> np.ndarray:
        """Embeddings, float32 [n, face_dim]; an image is of one face."""
        if file.endswith((".json", ".npy")) or not self.network:
            return load_rows(file, "--face", (self.face_dim,), "an embedding")
        image = load_image(file, "--face", data, (dlib_face.SIZE, dlib_face.SIZE))
        return face_network.embedded(image, self.network_file)[None]

    def read_points(self, file: str, size: tuple[int, int], data: Any) -> np.ndarray:
        """Images of points, float32 [n, H, W, 3]."""
        if not file.endswith((".json", ".npy")):
            return read_hint(file, size, data)[None]
        rows = load_rows(file, "--hint", (5, 2), "x and y of eyes, nose and corners of the mouth")
        if not all(map(faces.are_points, rows)):
            raise InputError(
                f"--hint '{file}' has values up to {np.max(abs(rows)):g}: expected points in parts "
                "of the image, from 0 to 1"
            )
        return np.stack([self.drawn(points, size) for points in rows])

    def drawn(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The image [H, W, 3] of points in parts of it."""
        pixels = points * size[::-1] - 0.5  # the first is from 0 to 1 and its middle is 0
        return drawn_points(pixels, size, self.radius, self.half_width)

    def by_site(self, base: Base, options: Mapping[str, Any]) -> dict[str, float]:
        given = {name: x for name, x in options.items() if x is not None}
        identity = given.get("identity_scale", self.identity_scale)
        face = given.get("face_scale", self.face_scale)
        net = dict.fromkeys(outputs(base.experiment.model), identity)
        return net | dict.fromkeys(crossing(base.model.backbone.sites), face)

    @classmethod
    def of_file(
        cls, arrays: Arrays, metadata: Mapping[str, str], base: Base
    ) -> tuple[Self, Params] | None:
        face, net = instant_id_folder.parted(arrays)
        if not face or not net:
            return None
        found = ControlNet.of_file(net, metadata, base), IPAdapter.of_file(face, metadata, base)
        if None in found:
            return None
        (identity, own), (prompt, beside) = found
        if prompt.projection != "resampler":
            raise InputError(
                f"{cls.kind} has a projection '{prompt.projection}' of the face: expected a "
                "resampler"
            )
        sizes = prompt.tokens, prompt.width, prompt.depth, prompt.heads, prompt.head_channels
        config = cls(prompt.into, *sizes, stem=identity.stem)
        return config, {"face": beside, "identity": own}

    def write(self, path: Path, own: Params, base: Base) -> Arrays:
        return self.write_folder(instant_id_folder, path, own, base)

    def to_file(self, own: Params, base: Base) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        _, described = self.identity_net.of_diffusers(base)
        net, _ = self.identity_net.to_file(own["identity"], base)
        face, _ = self.beside_text.to_file(own["face"], base)
        return {**net, **face}, {CONFIG: json.dumps(described, indent=2) + "\n"}


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
        return attended.replace(added=added.added)

    def null(n: int, h: int, w: int) -> Batch:
        return {config.face: jnp.zeros((n, config.face_dim)), **identity.null(n, h, w)}

    keys = (config.face, config.points)
    return Adapter(init, keys, null, dropped=keys[:1], encode=encode, signal=signal)


def drawn_points(
    points: Sequence[tuple[float, float]],
    size: tuple[int, int],
    radius: float = 10.0,
    half_width: float = 4.0,
) -> np.ndarray:
    """The image of a face's five points, float32 [H, W, 3], 0 to 1.

    Limbs are ellipses from each point to the nose, in the colour of the point, dimmed; points are
    discs over them.

    Args:
        points: x and y in pixels, of the eyes, the nose and the corners of the mouth.
        size: H and W.
        radius: of the discs, in pixels.
        half_width: of the ellipses.
    """
    image = np.zeros((*size, 3), np.float32)
    limbs = [(NOSE, i, color) for i, color in enumerate(COLORS) if i != NOSE]
    key_points.draw(image, np.asarray(points), limbs, COLORS, radius, half_width)
    return image / 255.0
