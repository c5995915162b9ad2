"""Attention by blocks against the plain formula: time forward, and forward and backward.

python benchmarks/attention.py [--rounds 7]

Prints, for layers of diffusion models, medians of wall time in turns in one process, and the bytes
of the matrix of scores that the plain formula keeps.
"""

import argparse

import jax
import jax.numpy as jnp
from formulas import medians

from ldm_jax.nn.attention import attention

LAYERS = {  # what it is like: (batch, queries, keys, heads, width of a head)
    "a 64 x 64 latent, to itself": (1, 4096, 4096, 8, 40),
    "a 32 x 32 latent, to itself": (4, 1024, 1024, 8, 32),
    "a 32 x 32 latent, to 77 tokens": (4, 1024, 77, 8, 32),
    "a 16 x 16 latent, to itself": (4, 256, 256, 8, 32),
    "an 8 x 8 latent, to itself": (8, 64, 64, 4, 16),
}


def plain(q, k, v):
    """softmax(q k^T / sqrt(d)) v by XLA."""
    return jax.nn.dot_product_attention(q, k, v, implementation="xla")


def backward(function):
    """(q, k, v) -> gradients of a scalar of its value."""
    return jax.grad(lambda q, k, v: jnp.sum(jnp.sin(function(q, k, v))), (0, 1, 2))


def main() -> None:
    """Times both in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for name, (B, n, m, heads, d) in LAYERS.items():
        q = jax.random.normal(jax.random.key(0), (B, n, heads, d))
        k, v = jax.random.normal(jax.random.key(1), (2, B, m, heads, d))
        print(f"{name} ({4 * B * heads * n * m / 2**20:.0f} MiB of scores)")
        for what, lift in (("forward", lambda f: f), ("and backward", backward)):
            functions = {"plain": lift(plain), "here": lift(attention)}
            plain_ms, here_ms = medians(functions, rounds, q, k, v).values()
            ratio = here_ms / plain_ms
            print(
                f"  {what:12} plain {plain_ms:8.1f} ms  here {here_ms:8.1f} ms  ratio {ratio:.2f}"
            )


if __name__ == "__main__":
    main()
