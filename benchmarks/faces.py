"""Drawn faces for an InstantID, and who is found where in images (docs/adapters/instant-id.md).

A face is its identity, 9 numbers from -1 to 1 of colors and proportions, and a pose; captions say
what the shirt and the wall are. The embedding of an identity is a fixed projection of it.

python benchmarks/faces.py draw FOLDER [--count 10000] [--seed 0]
    FOLDER/N.png, N.npy with the embedding, and metadata.jsonl with captions and the five points
python benchmarks/faces.py hold FOLDER [--count 100] [--identities 50] [--seed 1]
    faces.npy, points.npy and prompts.txt for sample.py, of identities that `draw` does not have,
    and truth.npz for `count`
python benchmarks/faces.py learn READER.npz [--count 10000] [--seed 2]
    a network that reads identity, points and colors in images like those of `draw`
python benchmarks/faces.py count READER.npz FOLDER SAMPLES...
    for each folder of sample.py: how often the identity read is nearest to the given one of all,
    and how far from the given points those read are
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from PIL import Image

from ldm_jax.data.drawing import COLORS

PARTS = {"skin": 3, "hair": 3, "width": 1, "length": 1, "fringe": 1}  # how many numbers
IDENTITY, EMBEDDING, SIZE = sum(PARTS.values()), 32, 32
LIPS, WHITE, PUPIL = (190, 40, 60), (250, 250, 250), (25, 25, 40)
EYES, MOUTH = 0.4, 0.32  # how far from the middle, half the height of a face being 1
NAMES = list(COLORS)


class Face(NamedTuple):
    """A face before a wall.

    identity: [9], -1 to 1
    pose:     x and y of its middle, half its height, in parts of the image, and its angle
    """

    identity: np.ndarray
    pose: np.ndarray
    shirt: str
    wall: str

    @property
    def caption(self) -> str:
        return f"a face, a {self.shirt} shirt and a {self.wall} wall"

    @property
    def points(self) -> np.ndarray:
        """Eyes, nose and corners of the mouth, [5, 2], x and y in parts of the image."""
        within = np.array([[-EYES, -0.15], [EYES, -0.15], [0, 0.22], [-MOUTH, 0.56], [MOUTH, 0.56]])
        x, y, scale, angle = self.pose
        c, s = np.cos(angle), np.sin(angle)
        return within @ np.array([[c, s], [-s, c]]) * scale + (x, y)


def random_face(rng: np.random.Generator) -> Face:
    identity = rng.uniform(-1, 1, IDENTITY)
    pose = rng.uniform((0.36, 0.4, 0.27, -0.45), (0.64, 0.56, 0.37, 0.45))
    return Face(identity, pose, *(str(name) for name in rng.choice(NAMES, 2)))


def embedding(identity: np.ndarray) -> np.ndarray:
    """[..., 9] -> [..., 32], each of variance near 1."""
    rows = np.random.default_rng(26).standard_normal((IDENTITY, EMBEDDING))
    return np.float32(identity @ rows * (3 / IDENTITY) ** 0.5)


def layout(identity: np.ndarray) -> dict[str, np.ndarray]:
    """Colors, 0 to 255, and proportions, half the height of a face being 1."""
    each = np.split(identity, np.cumsum([*PARTS.values()])[:-1])
    found = dict(zip(PARTS, each, strict=True))
    between = {
        "width": (0.66, 0.98),
        "length": (-0.3, 1.0),
        "fringe": (-0.85, -0.4),
    }
    for name, (least, most) in between.items():
        found[name] = least + (most - least) * (found[name][0] + 1) / 2
    found["skin"], found["hair"] = 165 + 80 * found["skin"], 125 + 115 * found["hair"]
    return found


def paint(face: Face, size: int = SIZE) -> np.ndarray:
    """The image, antialiased, uint8 [size, size, 3]."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    px, py, scale, angle = face.pose
    c, s = np.cos(angle), np.sin(angle)
    u, v = ((x - px) * c + (y - py) * s) / scale, ((y - py) * c - (x - px) * s) / scale
    pixel = 1 / (size * scale)
    image = np.broadcast_to(np.float64(COLORS[face.wall]), (size, size, 3)).copy()

    def ellipse(at, half, pixel=pixel, u=u, v=v):
        """The share of each pixel in an ellipse; a distance is its value over its slope."""
        a, b = (u - at[0]) / half[0], (v - at[1]) / half[1]
        value = np.maximum(np.hypot(a, b), 1e-6)
        slope = np.hypot(a / half[0], b / half[1]) / value
        return np.clip(0.5 - (value - 1) / (slope * pixel), 0, 1)

    def above(edge):
        return np.clip(0.5 + (edge - v) / pixel, 0, 1)

    def cover(color, share):
        image[:] += share[..., None] * (np.asarray(color) - image)

    it = layout(face.identity)
    w, skin = it["width"], it["skin"]
    cover(it["hair"], ellipse((0, -0.12), (w + 0.2, 1.15)) * above(it["length"]))
    cover(skin * 0.8, ellipse((0, 1.0), (0.3, 0.5)))
    cover(COLORS[face.shirt], ellipse((px, 1.02), (0.42, 0.2), 1 / size, x, y))
    cover(skin, ellipse((0, 0), (w, 1)) * (1 - above(it["fringe"])))
    for side in (-1, 1):
        e = side * EYES
        cover(it["hair"] * 0.7, ellipse((e, -0.42), (0.22, 0.06)))
        cover(WHITE, ellipse((e, -0.15), (0.27, 0.19)))
        cover(PUPIL, ellipse((e, -0.15), (0.15, 0.15)))
    cover(skin * 0.6, ellipse((0, 0.16), (0.1, 0.2)))
    cover(LIPS, ellipse((0, 0.56), (MOUTH, 0.11)))
    return np.uint8(np.round(np.clip(image, 0, 255)))


def faces(seed: int, count: int) -> list[Face]:
    return [random_face(np.random.default_rng([seed, i])) for i in range(count)]


def draw(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    rows = []
    for i, face in enumerate(faces(seed, count)):
        name = f"{i:05}"
        Image.fromarray(paint(face)).save(folder / f"{name}.png")
        np.save(folder / f"{name}.npy", embedding(face.identity))
        row = {"file_name": f"{name}.png", "text": face.caption, "face": f"{name}.npy"}
        rows.append({**row, "points": np.round(face.points, 5).tolist()})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, "utf-8")


def hold(folder: Path, count: int, seed: int, identities: int) -> None:
    folder.mkdir(parents=True)
    found = faces(seed, count)
    who = [face.identity for face in found[:identities]]
    found = [face._replace(identity=who[i % identities]) for i, face in enumerate(found)]
    targets = np.stack([target(face) for face in found])
    np.savez(folder / "truth.npz", targets=targets, images=np.stack([paint(f) for f in found]))
    np.save(folder / "faces.npy", embedding(np.stack(who)))
    np.save(folder / "points.npy", np.float32([face.points for face in found]))
    lines = "".join(f"{face.caption}\n" for face in found)
    (folder / "prompts.txt").write_text(lines, "utf-8")


# Reading


def target(face: Face) -> np.ndarray:
    """What is read of a face, each about -1 to 1: [25], see `read`."""
    colors = [np.divide(COLORS[name], 127.5) - 1 for name in (face.shirt, face.wall)]
    parts = [face.identity, 4 * face.points.reshape(-1) - 2, *colors]
    return np.float32(np.concatenate(parts))


class Reader(nn.Module):
    """Images [B, 32, 32, 3] of 0 to 255 -> [B, 25]."""

    @nn.compact
    def __call__(self, x):
        x = x / 127.5 - 1
        for channels, stride in ((16, 2), (32, 2), (32, 1), (64, 2)):
            x = nn.relu(nn.Conv(channels, (3, 3), (stride, stride))(x))
        x = nn.relu(nn.Dense(128)(x.reshape(len(x), -1)))
        return nn.Dense(IDENTITY + 10 + 6)(x)


def learn(path: Path, count: int, seed: int, epochs: int = 10, size: int = 50) -> None:
    """Half of each image is its mean of 3 x 3 pixels, by a share that is drawn, as of a decoder."""
    found = faces(seed, count)
    images, targets = np.stack([paint(f) for f in found]), np.stack([target(f) for f in found])
    net, steps = Reader(), epochs * (count // size)
    optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0, 2e-3, 100, steps))
    params = net.init(jax.random.key(seed), jnp.zeros((1, SIZE, SIZE, 3)))

    @jax.jit
    def step(params, state, key, x, y):
        blurred = nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)
        share, noise = jax.random.split(key)
        x = x + jax.random.uniform(share, (len(x), 1, 1, 1)) * (blurred - x)
        x = x + 4 * jax.random.normal(noise, x.shape)
        loss, grads = jax.value_and_grad(lambda p: jnp.mean((net.apply(p, x) - y) ** 2))(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    state, rng = optimizer.init(params), np.random.default_rng(seed)
    for i in range(steps):
        if i % (count // size) == 0:
            order = rng.permutation(count)
        rows = order[i % (count // size) * size :][:size]
        key = jax.random.fold_in(jax.random.key(seed), i)
        params, state, loss = step(params, state, key, np.float32(images[rows]), targets[rows])
        if i % 200 == 199:
            print(f"step {i + 1} of {steps}: {float(loss):.5f}", flush=True)
    np.savez(path, **flatten_dict(params, sep="/"))


def read(reader: Path, images: np.ndarray) -> np.ndarray:
    """[B, 25]: identity, points, and the colors of shirt and wall."""
    with np.load(reader) as file:
        params = unflatten_dict(dict(file), sep="/")
    return np.asarray(jax.jit(Reader().apply)(params, np.float32(images)))


def count(reader: Path, truth: np.ndarray, identities: int, images: np.ndarray) -> dict[str, float]:
    """Shares and pixels, of images whose faces are `truth` [B, 25]."""
    each, truth, found = truth[:identities], truth[: len(images)], read(reader, images)
    who, places, colors = (slice(0, IDENTITY), slice(IDENTITY, -6), slice(-6, None))
    distances = np.linalg.norm(found[:, None, who] - each[None, :, who], axis=-1)
    right = distances.argmin(axis=1) == np.arange(len(images)) % identities
    apart = (found[:, places] - truth[:, places]).reshape(-1, 5, 2) / 4 * SIZE
    palette = np.array(list(COLORS.values())) / 127.5 - 1

    def named(x):
        return np.linalg.norm(x.reshape(-1, 2, 1, 3) - palette, axis=-1).argmin(axis=-1)

    text = np.all(named(found[:, colors]) == named(truth[:, colors]), axis=1)
    return {
        "identity": float(right.mean()),
        "points, pixels": float(np.linalg.norm(apart, axis=-1).mean()),
        "caption": float(text.mean()),
    }


def drawn_images(folder: Path) -> np.ndarray:
    with np.load(folder / "samples.npz") as file:
        return next(file[name] for name in file if file[name].ndim == 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, number, seed in (("draw", 10_000, 0), ("hold", 100, 1), ("learn", 10_000, 2)):
        one = commands.add_parser(name)
        one.add_argument("path", type=Path)
        one.add_argument("--count", type=int, default=number)
        one.add_argument("--seed", type=int, default=seed)
        if name == "hold":
            one.add_argument("--identities", type=int, default=50)
    one = commands.add_parser("count")
    one.add_argument("reader", type=Path)
    one.add_argument("held", type=Path)
    one.add_argument("folders", type=Path, nargs="+")
    given = vars(parser.parse_args())
    command = given.pop("command")
    if command != "count":
        {"draw": draw, "hold": hold, "learn": learn}[command](*given.values())
        return
    with np.load(given["held"] / "truth.npz") as file:
        truth, itself = file["targets"], file["images"]
    identities = len(np.load(given["held"] / "faces.npy"))
    print("as drawn", count(given["reader"], truth, identities, itself))
    for folder in given["folders"]:
        print(folder, count(given["reader"], truth, identities, drawn_images(folder)))


if __name__ == "__main__":
    main()
