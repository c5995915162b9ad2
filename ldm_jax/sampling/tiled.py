"""Images of any size: a first stage that works tile by tile, and sizes that no factor divides.

Both map a first stage to a first stage, so whatever encodes or decodes can have them. With tiles,
memory follows the tile instead of the image. Neighbouring tiles overlap, and where they do, their
outputs are blended linearly, as diffusers' `enable_tiling` does. The result is not quite that of
the whole image: group normalisation and attention see one tile at a time. `scripts/evaluate.py
first-stage RUN DATA --tile N --compare` measures by how much; docs/parity.md says what was found.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.autoencoders.latents import draw, scaled
from ldm_jax.errors import InputError
from ldm_jax.types import Array, FirstStage, Gaussian, Reconstruction

SMALLEST = 2  # latents a side of a tile: one to share


def tiled(stage: FirstStage, tile: int, overlap: int | None = None) -> FirstStage:
    """The same first stage, working on `tile` x `tile` latents of each image at a time.

    Every tile of an image has one shape, so the network is compiled once; the tiles of an image
    are taken one after another, with those of the whole batch side by side. Latents of `tile` a
    side or less are left whole. A posterior's mean and log-variance are blended, not draws from it.
    There are no terms and no codes of a reconstruction: nothing is trained by tiles.

    Args:
        overlap: latents that neighbours share at least, less than `tile`; None:
            `default_overlap(tile)`.
    """
    shared = default_overlap(tile) if overlap is None else overlap
    blend = partial(_blended, tile=tile, overlap=shared)

    def posterior(params, images: Array) -> Gaussian:
        return blend(partial(stage.posterior, params), images, stage.factor, 1)

    def encode(params, images: Array, keys: Array) -> Array:
        return scaled(params, draw(posterior(params, images), keys))

    def decode(params, latents: Array) -> Array:
        return blend(partial(stage.decode, params), latents, 1, stage.factor)

    def reconstruct(params, images: Array, keys: Array) -> Reconstruction:
        z = draw(posterior(params, images), keys)
        return Reconstruction(decode(params, scaled(params, z)), {}, z)

    return stage._replace(
        posterior=posterior, encode=encode, decode=decode, reconstruct=reconstruct
    )


def default_overlap(tile: int) -> int:
    """A quarter of the tile (diffusers' `tile_overlap_factor`)."""
    return max(1, tile // 4)


def check(tile: int | None, overlap: int | None = None) -> None:
    """Raises InputError for tiles, given as --tile and --overlap, that cannot be."""
    if tile is None and overlap is not None:
        raise InputError(f"--overlap is {overlap}: expected --tile beside it, or neither")
    if tile is not None and tile < SMALLEST:
        raise InputError(f"--tile is {tile}: expected at least {SMALLEST} latents, better 32")
    if overlap is not None and not 0 <= overlap < tile:
        raise InputError(f"--overlap is {overlap}: expected 0 to {tile - 1}, less than --tile")


def describe(
    stage: FirstStage, height: int, width: int, tile: int, overlap: int | None = None
) -> str:
    """What `tiled` makes of height x width pixels, in one line."""
    overlap = default_overlap(tile) if overlap is None else overlap
    h, w = (-(-side // stage.factor) for side in (height, width))
    count = len(windows(h, tile, overlap)) * len(windows(w, tile, overlap))
    if count == 1:
        return f"tiles: none, {h}x{w} latents fit into one of {tile}x{tile}"
    high, wide = min(h, tile), min(w, tile)
    return (
        f"tiles: {count} of {high}x{wide} latents ({high * stage.factor}x{wide * stage.factor} "
        f"pixels) an image of {h}x{w}, sharing {overlap} or more"
    )


def windows(size: int, tile: int, overlap: int) -> np.ndarray:
    """Where to place the fewest windows over `size` latents, evenly spread: the first of each.

    Windows are `tile` long and share `overlap` or more with their neighbours; where `size` is less
    than `tile`, there is one of length `size`.
    """
    if size <= tile:
        return np.zeros(1, int)
    count = -(-(size - overlap) // (tile - overlap))
    return np.rint(np.linspace(0, size - tile, count)).astype(int)


def weights(size: int, tile: int, overlap: int, unit: int) -> np.ndarray:
    """What each of the windows counts for along one axis, [windows, tile * unit].

    Each rises and falls in a straight line over what it shares with its neighbours; at any place
    the weights of all windows sum to 1, and none is 0.

    Args:
        unit: places (pixels, or latents) a latent.
    """
    starts, length = windows(size, tile, overlap), min(tile, size)
    place = (np.arange(length * unit) + 0.5) / unit  # in latents
    covers = starts[:, None] * unit + np.arange(length * unit)
    shared = np.append(np.inf, starts[:-1] + length - starts[1:])  # with the neighbour before
    with np.errstate(divide="ignore"):
        rise = np.minimum(1.0, place / shared[:, None])
    found = np.ones((len(starts), length * unit))
    found[1:] *= rise[1:]
    found[:-1] *= rise[1:, ::-1]
    total = np.zeros(size * unit)
    np.add.at(total, covers, found)
    return np.float32(found / total[covers])


def _blended(
    f: Callable, x: Array, units: int, out_units: int, *, tile: int, overlap: int
) -> Array | Gaussian:
    """f of x, tile by tile.

    Args:
        f: [B, units h, units w, c] -> arrays [B, out_units h, out_units w, d].
        x: [B, units h, units w, c].
    """
    h, w = (side // units for side in x.shape[1:3])
    rows, columns = windows(h, tile, overlap), windows(w, tile, overlap)
    if len(rows) == len(columns) == 1:
        return f(x)
    size = (len(x), units * min(h, tile), units * min(w, tile), x.shape[-1])
    places = (
        np.repeat(rows, len(columns)),
        np.tile(columns, len(rows)),
        np.repeat(weights(h, tile, overlap, out_units), len(columns), axis=0),
        np.tile(weights(w, tile, overlap, out_units), (len(rows), 1)),
    )

    def one(row, column):
        return f(jax.lax.dynamic_slice(x, (0, units * row, units * column, 0), size))

    def add(total, place):
        row, column, down, across = place
        start = (0, out_units * row, out_units * column, 0)

        def put(total, part):
            seen = jax.lax.dynamic_slice(total, start, part.shape)
            blended = seen + (down[:, None] * across)[..., None] * part
            return jax.lax.dynamic_update_slice(total, blended, start)

        return jax.tree.map(put, total, one(row, column)), None

    def empty(part):
        return jnp.zeros((len(x), out_units * h, out_units * w, part.shape[-1]))

    total = jax.tree.map(empty, jax.eval_shape(one, 0, 0))
    return jax.lax.scan(add, total, jax.tree.map(jnp.asarray, places))[0]


def padded(stage: FirstStage) -> FirstStage:
    """The same first stage, taking images of any size: they are padded until the factor divides.

    A decoder cannot know by how much: `crop` brings its images back to size.
    """

    def posterior(params, images: Array) -> Gaussian:
        return stage.posterior(params, pad(images, stage.factor))

    def encode(params, images: Array, keys: Array) -> Array:
        return stage.encode(params, pad(images, stage.factor), keys)

    def reconstruct(params, images: Array, keys: Array) -> Reconstruction:
        found = stage.reconstruct(params, pad(images, stage.factor), keys)
        return found._replace(image=crop(found.image, *images.shape[1:3]))

    return stage._replace(posterior=posterior, encode=encode, reconstruct=reconstruct)


def pad(images: Array, factor: int) -> Array:
    """[B, H, W, C] with its edges repeated on all sides, until `factor` divides both sides.

    On all sides rather than two, because networks do worse at the border: it is what `crop` takes.
    """
    missing = [-side % factor for side in images.shape[1:3]]
    both = [(n // 2, n - n // 2) for n in missing]
    return jnp.pad(images, ((0, 0), *both, (0, 0)), mode="edge")


def crop(images: Array, height: int, width: int) -> Array:
    """The middle [B, height, width, C] of images: the inverse of `pad`."""
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]
