"""First stages by tiles, and images of any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.autoencoders.latents import draw, unit
from ldm_jax.sampling import tiled
from ldm_jax.types import Gaussian
from tests.support import tiny

FACTOR = 4
SIZES = [(32, 8, 2), (15, 8, 2), (9, 8, 4), (8, 8, 2), (5, 8, 2), (40, 16, 12), (13, 4, 0)]


# A first stage without neighbours: each latent is a patch of pixels. Whatever a tile shows of it is
# what the whole image shows, so tiles are the same as the whole.


def patches(images):
    """[B, H, W, C] -> [B, H / 4, W / 4, 16 C]."""
    B, H, W, C = images.shape
    x = images.reshape(B, H // FACTOR, FACTOR, W // FACTOR, FACTOR, C)
    return jnp.moveaxis(x, 2, 3).reshape(B, H // FACTOR, W // FACTOR, -1)


def pixels(latents):
    """The inverse of `patches`."""
    B, h, w, _ = latents.shape
    x = jnp.moveaxis(latents.reshape(B, h, w, FACTOR, FACTOR, -1), 3, 2)
    return x.reshape(B, h * FACTOR, w * FACTOR, -1)


def patch_stage(log_variance=lambda z: -1.0 - jnp.square(z)):
    def posterior(params, images):
        z = params["gain"] * patches(images)
        return Gaussian(z, log_variance(z))

    def encode(params, images, keys):
        return draw(posterior(params, images), keys)

    def decode(params, latents):
        return pixels(latents / params["gain"])

    return tiny.first_stage(
        posterior=posterior, encode=encode, decode=decode, factor=FACTOR, channels=48
    )


PARAMS = {**unit(48), "gain": jnp.float32(2.0)}


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(0), (2, 40, 52, 3), minval=-1.0)


@pytest.mark.parametrize(("tile", "overlap"), [(4, 1), (4, 3), (7, 0), (11, None)])
def test_tiles_are_the_whole_where_latents_know_no_neighbours(images, tile, overlap):
    whole, parts = patch_stage(), tiled.tiled(patch_stage(), tile, overlap)
    keys = tiny.keys(2)
    for name in ("mean", "log_variance"):
        a, b = (getattr(jax.jit(s.posterior)(PARAMS, images), name) for s in (whole, parts))
        np.testing.assert_allclose(a, b, atol=1e-5)
    z = whole.encode(PARAMS, images, keys)
    np.testing.assert_allclose(jax.jit(parts.encode)(PARAMS, images, keys), z, atol=1e-5)
    decoded = jax.jit(parts.decode)(PARAMS, z)
    np.testing.assert_allclose(decoded, whole.decode(PARAMS, z), atol=1e-5)
    found = jax.jit(parts.reconstruct)(PARAMS, images, keys)
    np.testing.assert_allclose(found.image, decoded, atol=1e-5)
    np.testing.assert_allclose(found.latents, z, atol=1e-5)


def test_a_stage_that_draws_nothing_draws_nothing_by_tiles(images):
    stage = tiled.tiled(patch_stage(lambda z: jnp.full_like(z, -jnp.inf)), 4)
    assert np.all(stage.posterior(PARAMS, images).log_variance == -np.inf)
    z = stage.encode(PARAMS, images, tiny.keys(2))
    np.testing.assert_allclose(z, 2.0 * patches(images), atol=1e-5)


def test_the_network_is_traced_once_whatever_the_number_of_tiles(images):
    seen = []

    def decode(params, latents):
        seen.append(latents.shape)
        return pixels(latents)

    stage = tiled.tiled(patch_stage()._replace(decode=decode), 4)
    for latents in (patches(images), patches(images)[:, :7, :5]):
        seen.clear()
        jax.make_jaxpr(stage.decode)(PARAMS, latents)
        assert len(seen) <= 2  # its shape, and the body of the loop
        assert set(seen) == {(2, 4, 4, 48)}


def test_an_image_thinner_than_a_tile_has_tiles_as_thin(images):
    thin = images[:, :8]
    stage = tiled.tiled(patch_stage(), 4)
    z = jax.jit(stage.posterior)(PARAMS, thin).mean
    np.testing.assert_allclose(z, 2.0 * patches(thin), atol=1e-5)


@pytest.mark.parametrize(("size", "tile", "overlap"), SIZES)
def test_windows_cover_all_with_the_fewest(size, tile, overlap):
    starts = tiled.windows(size, tile, overlap)
    length = min(size, tile)
    assert starts[0] == 0
    assert starts[-1] == size - length
    assert np.all(starts[:-1] + length - starts[1:] >= overlap)
    fewer = len(starts) - 1
    assert fewer * length - (fewer - 1) * overlap < size


@pytest.mark.parametrize("unit", [1, 4])
@pytest.mark.parametrize(("size", "tile", "overlap"), SIZES)
def test_weights_sum_to_one_and_none_is_zero(size, tile, overlap, unit):
    starts, weights = tiled.windows(size, tile, overlap), tiled.weights(size, tile, overlap, unit)
    total = np.zeros(size * unit)
    for start, row in zip(starts, weights, strict=True):
        total[start * unit : (start + min(size, tile)) * unit] += row
    np.testing.assert_allclose(total, 1.0, atol=1e-6)
    assert weights.min() > 0.0


def test_weights_are_straight_lines_over_the_overlap():
    first, second = tiled.weights(6, 4, 2, 2)  # windows 0 ... 3 and 2 ... 5, two places a latent
    np.testing.assert_allclose(first, [1, 1, 1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8], atol=1e-6)
    np.testing.assert_allclose(second, first[::-1], atol=1e-6)


# A real network


@pytest.fixture(scope="module")
def network():
    stage = tiny.experiment().first_stage.model.build()
    return stage, tiny.drawn(stage.init)


def test_latents_no_larger_than_a_tile_are_left_whole(network):
    stage, params = network
    z = jax.random.normal(jax.random.key(2), (2, 4, 4, 2))
    whole, parts = jax.jit(stage.decode), jax.jit(tiled.tiled(stage, 4).decode)
    np.testing.assert_array_equal(parts(params, z), whole(params, z))


def test_a_convolution_errs_at_the_seams_alone_and_less_with_an_overlap(images):
    """At its border a tile sees zeros where its neighbour goes on."""

    def decode(params, latents):
        kernel = jnp.eye(3) * jnp.full((3, 3, 1, 1), 1 / 9)
        names = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            pixels(latents), kernel, (1, 1), "SAME", dimension_numbers=names
        )

    stage, z = patch_stage()._replace(decode=decode), patches(images[:, :32, :32])
    whole = decode(PARAMS, z)
    errors = {}
    for overlap in (0, 1, 2):
        found = jax.jit(tiled.tiled(stage, 4, overlap).decode)(PARAMS, z)
        errors[overlap] = np.abs(found - whole).max(axis=(0, 3))
    assert errors[0][:, 15:17].max() > 0.1  # the pixels on both sides of the seam
    assert np.all(np.delete(np.delete(errors[0], [15, 16], 0), [15, 16], 1) < 1e-5)
    assert errors[2].max() < 0.5 * errors[0].max()
    assert errors[1].max() < errors[0].max()


# Sizes that the factor does not divide


@pytest.mark.parametrize("size", [(40, 52), (37, 52), (39, 49), (3, 1)])
def test_cropping_takes_off_what_padding_put_on(images, size):
    small = images[:, : size[0], : size[1]]
    found = tiled.pad(small, FACTOR)
    assert all(side % FACTOR == 0 for side in found.shape[1:3])
    assert all(0 <= a - b < FACTOR for a, b in zip(found.shape[1:3], size, strict=True))
    np.testing.assert_array_equal(tiled.crop(found, *size), small)


def test_padding_repeats_the_nearest_pixel():
    image = jnp.arange(6.0).reshape(1, 6, 1, 1) * jnp.ones((1, 6, 4, 3))
    assert tiled.pad(image, 4)[0, :, 0, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 5]


@pytest.mark.parametrize("tile", [None, 4])
def test_a_padded_stage_takes_images_of_any_size(images, tile):
    small = images[:, :37, :41]
    stage = patch_stage()
    stage = stage._replace(reconstruct=tiled.tiled(stage, 99).reconstruct)
    stage = tiled.padded(stage if tile is None else tiled.tiled(stage, tile))
    keys = tiny.keys(2)
    z = stage.encode(PARAMS, small, keys)
    assert z.shape == stage.posterior(PARAMS, small).mean.shape == (2, 10, 11, 48)
    found = stage.reconstruct(PARAMS, small, keys)
    assert found.image.shape == small.shape
    decoded = tiled.crop(stage.decode(PARAMS, z), 37, 41)
    np.testing.assert_allclose(found.image, decoded, atol=1e-5)


def test_what_tiles_there_are_is_reported(images):
    said = tiled.describe(patch_stage(), 37, 52, 4, 1)
    assert said == "tiles: 12 of 4x4 latents (16x16 pixels) an image of 10x13, sharing 1 or more"
    assert "none" in tiled.describe(patch_stage(), 16, 16, 4, 1)
