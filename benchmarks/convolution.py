"""Convolutions of 3 x 3 taps against XLA's: time forward, and of the gradients by x and kernel.

python benchmarks/convolution.py [--rounds 9]

Prints, for layers of the networks here, medians of wall time in turns in one process; then, for
stacks of layers, the time of all gradients, where one layer's products may be computed beside
another's. On anything but a CPU both are the same.
"""

import argparse

import jax
import jax.numpy as jnp
from formulas import medians

from ldm_jax.nn import conv

LAYERS = (  # batch, places a side, channels before and after, stride
    (16, 32, 32, 32, 1),
    (8, 32, 64, 64, 1),
    (8, 32, 192, 64, 1),
    (1, 128, 64, 64, 1),
    (1, 64, 64, 128, 1),
    (1, 64, 128, 128, 1),
    (1, 32, 256, 256, 1),
    (1, 16, 256, 256, 1),
    (2, 64, 320, 320, 1),
    (2, 64, 640, 320, 1),
    (2, 32, 640, 640, 1),
    (2, 32, 1280, 640, 1),
    (2, 16, 1280, 1280, 1),
    (2, 8, 1280, 1280, 1),
    (2, 64, 320, 320, 2),
    (2, 32, 640, 640, 2),
    (2, 16, 1280, 1280, 2),
    (1, 256, 128, 128, 1),
)
STACKS = (  # batch, places a side, channels
    (16, 32, 16),
    (16, 16, 32),
    (16, 8, 64),
    (8, 32, 64),
    (8, 16, 128),
    (4, 64, 64),
)
DEPTH = 8
PADDING = ((1, 1), (1, 1))


def of(form, stride: int):
    """What is timed of a form, as functions of x, a kernel and a change of the result."""

    def y(x, kernel):
        return form(x, kernel, PADDING, stride)

    return {
        "forward": lambda x, kernel, _: y(x, kernel),
        "by x": lambda x, kernel, g: jax.vjp(lambda x: y(x, kernel), x)[1](g),
        "by kernel": lambda x, kernel, g: jax.vjp(lambda kernel: y(x, kernel), kernel)[1](g),
    }


def gradients(form):
    """All gradients of residual layers, each with a norm and a SiLU before it."""

    def loss(kernels, x):
        for kernel in kernels:
            norm = (x - jnp.mean(x, (1, 2), keepdims=True)) / jnp.std(x, (1, 2), keepdims=True)
            x = x + form(jax.nn.silu(norm), kernel, PADDING, 1)
        return jnp.mean(x**2)

    return jax.grad(loss, (0, 1))


def main() -> None:
    """Times both in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    for B, side, C, D, stride in LAYERS:
        x = jax.random.normal(jax.random.key(0), (B, side, side, C))
        kernel = jax.random.normal(jax.random.key(1), (3, 3, C, D)) / (9 * C) ** 0.5
        g = jax.random.normal(jax.random.key(2), (B, side // stride, side // stride, D))
        theirs, ours = of(conv.by_xla, stride), of(conv.conv, stride)
        said = []
        for what in ours:
            found = medians({"xla": theirs[what], "here": ours[what]}, rounds, x, kernel, g)
            ratio = found["here"] / found["xla"]
            said.append(f"{what} {found['xla']:.1f} {found['here']:.1f} ({ratio:.2f})")
        halved = " halved" * (stride == 2)
        print(f"{B}, {side} x {side}, {C} to {D}{halved}: {', '.join(said)}", flush=True)
    for B, side, C in STACKS:
        x = jax.random.normal(jax.random.key(0), (B, side, side, C))
        kernels = 0.02 * jax.random.normal(jax.random.key(1), (DEPTH, 3, 3, C, C))
        forms = {"xla": gradients(conv.by_xla), "here": gradients(conv.conv)}
        found = medians(forms, rounds, list(kernels), x)
        ratio = found["here"] / found["xla"]
        print(
            f"{DEPTH} layers, {B}, {side} x {side}, {C}: all gradients {found['xla']:.1f} "
            f"{found['here']:.1f} ({ratio:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
