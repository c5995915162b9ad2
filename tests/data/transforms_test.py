"""Any image becomes 8-bit RGB of the size asked for, with nothing clipped, turned or lost."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ldm_jax.data import transforms

WHITE = (255, 255, 255)
MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "I;16", "I", "CMYK")


def encoded(image, file_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def decoded(image, background=WHITE, **options):
    return np.asarray(transforms.decode(encoded(image, **options), background))


def noise(height, width, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode):
    image = Image.new("RGB", (6, 4), WHITE).convert("L" if mode.startswith("I") else mode)
    if mode.startswith("I"):
        image = Image.fromarray(np.full((4, 6), 65535, np.uint16)).convert(mode)
    result = decoded(image, file_format="TIFF" if mode in ("I", "CMYK") else "PNG")
    assert result.shape == (4, 6, 3)
    assert result.dtype == np.uint8
    assert (result == 255).all()


def test_an_rgb_image_is_untouched():
    pixels = noise(5, 7)
    np.testing.assert_array_equal(decoded(Image.fromarray(pixels)), pixels)


def test_16_bit_grey_is_scaled_and_not_clipped():
    pixels = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert decoded(Image.fromarray(pixels))[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_float_grey_is_scaled_by_its_white(white):
    pixels = np.array([[0, 0.5 * white, white, -1]], np.float32)
    result = decoded(Image.fromarray(pixels), file_format="TIFF")
    assert result[0, :, 0].tolist() == [0, 128, 255, 0]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_image_with_nan_is_refused(wrong):
    pixels = np.array([[0.5, wrong, 1.0]], np.float32)
    with pytest.raises(ValueError, match="1 of its 3 pixels are NaN or infinite"):
        decoded(Image.fromarray(pixels), file_format="TIFF")


def test_transparency_shows_the_background():
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = 0, 255, 51
    assert decoded(Image.fromarray(pixels), (10, 20, 250))[0].tolist() == [
        [10, 20, 250],
        [0, 0, 0],
        [8, 16, 200],
    ]


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_shows_the_background(mode):
    image = Image.new(mode, (2, 2))
    transparent = (0, 0, 0) if mode == "RGB" else 0
    assert (decoded(image, (1, 2, 3), transparency=transparent) == [1, 2, 3]).all()


def test_exif_rotation_is_applied():
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned: the file's left is the image's top
    result = decoded(Image.fromarray(pixels), file_format="JPEG", exif=exif, quality=95)
    assert result.shape == (16, 8, 3)
    assert result[:8].min() > 200
    assert result[8:].max() < 50


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0", b"Exif\0\0MM\0*garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_damaged_exif_data_do_not_refuse_an_image(damage):
    image = Image.fromarray(noise(10, 20))
    assert decoded(image, file_format="JPEG", exif=damage).shape == (10, 20, 3)


def sized_text(kind):
    """Options that save a PNG with 3 MB of text or colour profile."""
    long = "x" * 3_000_000
    if kind == "icc":
        return {"icc_profile": long.encode()}
    text = PngImagePlugin.PngInfo()
    if kind == "itxt":
        text.add_itxt("workflow", long, zip=True)
    for n in range(25 if kind == "many" else kind in ("text", "ztxt")):
        text.add_text(f"workflow {n}", long, zip=kind != "text")
    return {"pnginfo": text}


@pytest.mark.parametrize("kind", ["text", "ztxt", "itxt", "icc", "many"])
def test_long_texts_and_profiles_do_not_refuse_a_png(kind):
    pixels = noise(5, 7)
    np.testing.assert_array_equal(decoded(Image.fromarray(pixels), **sized_text(kind)), pixels)


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (3, 50_000)])
def test_an_image_too_long_and_thin_to_be_resized_is_refused_before_it_is_decoded(
    shape, monkeypatch
):
    data = encoded(Image.new("L", shape))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    with pytest.raises(ValueError, match=f"is {shape[0]}x{shape[1]} pixels, too long and thin"):
        transforms.decode(data, WHITE, 64)
    with pytest.raises(ValueError, match="too long and thin"):
        transforms.resize(Image.new("L", shape), 64)


def test_a_panorama_is_resized():
    assert transforms.resize(Image.new("L", (3000, 30)), 64).size == (6400, 64)


def test_the_shorter_side_becomes_the_size():
    image = Image.fromarray(noise(30, 50))
    assert transforms.resize(image, 20).size == (33, 20)
    assert transforms.resize(image, 60).size == (100, 60)
    assert transforms.resize(image, 30) is image


def test_reducing_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    result = np.asarray(transforms.resize(Image.fromarray(stripes), 8))
    assert abs(result.astype(int) - 127).max() <= 8


def test_a_jpeg_decoded_small_looks_the_same():
    smooth = Image.fromarray(noise(8, 8)).resize((256, 256), Image.Resampling.BICUBIC)
    data = encoded(smooth, "JPEG", quality=95)
    full = transforms.decode(data, WHITE)
    small = transforms.decode(data, WHITE, 16)
    assert full.size == (256, 256)
    assert min(small.size) >= 32
    difference = np.asarray(transforms.resize(full, 16), int) - transforms.resize(small, 16)
    assert abs(difference).max() <= 3


def test_the_center_crop_is_in_the_middle():
    image = noise(6, 9)
    np.testing.assert_array_equal(transforms.center_crop(image, 4), image[1:5, 2:6])


def test_random_crops_reach_every_position():
    image = np.arange(6 * 5, dtype=np.uint8).reshape(6, 5, 1)
    rng = np.random.default_rng(0)
    corners = [transforms.random_corner(image.shape, 4, rng) for _ in range(100)]
    firsts = {int(transforms.crop(image, corner, 4)[0, 0, 0]) for corner in corners}
    assert firsts == {0, 1, 5, 6, 10, 11}


def test_half_of_the_images_are_mirrored():
    rng = np.random.default_rng(0)
    assert 160 < sum(transforms.flips(rng) for _ in range(400)) < 240


def test_normalized_values_span_minus_one_to_one_exactly():
    values = transforms.normalize(np.arange(256, dtype=np.uint8))
    assert values.dtype == np.float32
    assert values[0] == -1
    assert values[-1] == 1
    np.testing.assert_array_equal(np.rint((values + 1) * 127.5), np.arange(256))


def test_a_truncated_image_raises():
    data = encoded(Image.fromarray(noise(32, 32)), "JPEG")
    with pytest.raises(OSError):
        transforms.decode(data[: len(data) // 2], WHITE)


def test_postscript_is_not_run(tmp_path, monkeypatch):
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(OSError, match="Ghostscript"):
        transforms.decode(data, WHITE)
    assert not (tmp_path / "executed").exists()
