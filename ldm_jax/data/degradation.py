"""Downsampled images: bicubic, or degraded like real ones (Zhang et al. 2021, BSRGAN).

`bsr` is the light variant that the original trains super-resolution with: blur, resizing, noise and
JPEG in random order, with that variant's parameters. Resizing is Pillow's, with antialiasing.
"""

import io

import numpy as np
from PIL import Image
from scipy import ndimage

FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.BOX)
HALF_FIRST = 0.25  # probability of halving an image first, for a factor of 4
RESIZED, COMPRESSED = 0.8, 0.9  # probabilities of a random resize, and of JPEG
NOISE = (1, 2)  # standard deviation, in 255ths
QUALITY = (80, 95)  # of JPEG


def bicubic(image: np.ndarray, factor: int) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [H / factor, W / factor, 3]."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def blurred(image: np.ndarray, sigma: float = 0.6) -> np.ndarray:
    """uint8 [H, W, 3], blurred by a Gaussian of 3 x 3 pixels (Ramesh et al. 2022, section 2.1)."""
    soft = ndimage.gaussian_filter(np.float32(image), (sigma, sigma, 0), radius=(1, 1, 0))
    return np.uint8(np.round(soft))


def bsr(image: np.ndarray, factor: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [H / factor, W / factor, 3], degraded at random."""
    size = image.shape[0] // factor, image.shape[1] // factor
    image = image.astype(np.float32) / 255
    if factor == 4 and rng.random() < HALF_FIRST:
        image = _resize(image, (image.shape[0] // 2, image.shape[1] // 2), rng)
        factor = 2
    steps = rng.permutation(["blur", "any size", "final size", "noise", "jpeg"]).tolist()
    first, second = sorted((steps.index("any size"), steps.index("final size")))
    steps[first], steps[second] = "any size", "final size"
    for step in steps:
        if step == "blur":
            image = _blur(image, factor, rng)
        elif step == "any size":
            image = _shrink(image, factor, rng)
        elif step == "final size":
            image = _resize(image, size, rng)
        elif step == "noise":
            image = _add_noise(image, rng)
        elif rng.random() < COMPRESSED:
            image = _compress(image, rng)
    return _to_uint8(_compress(image, rng))


def _to_uint8(image: np.ndarray) -> np.ndarray:
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _resize(image: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """To (height, width), by a filter drawn from three; clipped."""
    kind = FILTERS[rng.integers(len(FILTERS))]
    planes = [Image.fromarray(plane).resize(size[::-1], kind) for plane in np.moveaxis(image, 2, 0)]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], axis=2), 0, 1)


def _shrink(image: np.ndarray, factor: int, rng: np.random.Generator) -> np.ndarray:
    """By a factor drawn from 1 to twice `factor`, or by taking every `factor`-th pixel after a
    blur."""
    if rng.random() < RESIZED:
        by = rng.uniform(1, 2 * factor)
        return _resize(image, tuple(max(1, int(side / by)) for side in image.shape[:2]), rng)
    middle = (factor - 1) / 2  # of the pixels that become one; the kernel is centred there
    variance = rng.uniform(0.1, 0.6 * factor) ** 2
    kernel = _gaussian(25, (variance, variance), offset=middle)
    return np.clip(_filter(image, kernel)[::factor, ::factor], 0, 1)


def _blur(image: np.ndarray, factor: int, rng: np.random.Generator) -> np.ndarray:
    """By a Gaussian, isotropic or not; of odd width, so that nothing is shifted."""
    if rng.random() < 0.5:
        variances = (4 + factor) / 4 * rng.uniform(size=2)  # along two axes
        kernel = _gaussian(2 * rng.integers(2, 8) + 1, variances, rng.uniform(0, np.pi))
    else:
        variance = ((2 + 0.2 * factor) / 4 * rng.uniform()) ** 2
        kernel = _gaussian(2 * rng.integers(2, 4) + 1, (variance, variance))
    return _filter(image, kernel)


def _filter(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return ndimage.convolve(image, kernel[:, :, None].astype(np.float32), mode="mirror")


def _gaussian(
    size: int, variances: tuple[float, float], angle: float = 0.0, offset: float = 0.0
) -> np.ndarray:
    """[size, size], of sum 1, whose axes, of these variances, are rotated by `angle`; centred
    `offset` down and right where it is correlated."""
    points = np.arange(size) - (size - 1) / 2
    # a convolution flips the kernel, so offsets are negated
    y, x = np.meshgrid(points + offset, points + offset, indexing="ij")
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    # no axis is thinner than a pixel
    first, second = (max(v, 0.01) for v in variances)
    exponents = 0.5 * (along**2 / first + across**2 / second)
    kernel = np.exp(exponents.min() - exponents)  # also where the centre is far from any point
    return kernel / kernel.sum()


def _add_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise: independent by channel, equal in all, or correlated at random; clipped."""
    std = rng.integers(NOISE[0], NOISE[1] + 1) / 255
    kind = rng.random()
    if kind > 0.6:
        noise = std * rng.standard_normal(image.shape)
    elif kind < 0.4:
        noise = std * rng.standard_normal((*image.shape[:2], 1))
    else:
        axes = np.linalg.qr(rng.uniform(size=(3, 3)))[0]
        # covariance (largest std)^2 |U^T diag(d) U|, d uniform
        covariance = np.abs(axes.T @ np.diag(rng.uniform(size=3)) @ axes) * (NOISE[1] / 255) ** 2
        noise = rng.multivariate_normal(
            np.zeros(3), covariance, image.shape[:2], check_valid="ignore"
        )
    return np.clip(image + noise, 0, 1).astype(np.float32)


def _compress(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As a JPEG of a quality drawn at random."""
    file = io.BytesIO()
    quality = int(rng.integers(QUALITY[0], QUALITY[1] + 1))
    Image.fromarray(_to_uint8(image)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / 255
