"""Rows of the layers that several networks share, in the layout of PyTorch."""

import numpy as np

from ldm_jax.weights.table import CONV, DENSE, SAME, Layout, Row, Table


def norm(here: str, there: str, channels: int) -> Table:
    """A group norm or a layer norm."""
    return [
        Row(f"{here}/scale", (f"{there}.weight",), (channels,), SAME),
        Row(f"{here}/bias", (f"{there}.bias",), (channels,), SAME),
    ]


def conv(here: str, there: str, i: int, o: int, size: int = 3) -> Table:
    """A convolution from i to o channels."""
    return [
        Row(f"{here}/kernel", (f"{there}.weight",), (o, i, size, size), CONV),
        Row(f"{here}/bias", (f"{there}.bias",), (o,), SAME),
    ]


def dense(here: str, there: str | tuple[str, ...], i: int, o: int, ones=0, bias=True) -> Table:
    """A linear layer from i to o channels, or a 1x1 convolution with `ones` dimensions."""
    there = (there,) if isinstance(there, str) else there
    weights = tuple(f"{name}.weight" for name in there)
    biases = tuple(f"{name}.bias" for name in there)
    kernel = Row(f"{here}/kernel", weights, (o, i) + (1,) * ones, DENSE)
    return [kernel, Row(f"{here}/bias", biases, (o,), SAME)] if bias else [kernel]


def embedding(here: str, there: str, entries: int, dim: int) -> Table:
    """A table of vectors."""
    return [Row(here, (f"{there}.weight",), (entries, dim), SAME)]


PATCH = Layout(
    lambda w: np.reshape(np.transpose(w, (2, 3, 1, 0)), (-1, len(w))),
    lambda w, shape: np.transpose(
        np.reshape(w, (shape[2], shape[3], shape[1], shape[0])), (3, 2, 0, 1)
    ),
)


def patches(here: str, there: str, o: int, size: int) -> Row:
    """The kernel of a convolution whose windows do not overlap, here a dense layer of their pixels.

    Args:
        size: pixels a side of a window.
    """
    return Row(f"{here}/kernel", (f"{there}.weight",), (o, 3, size, size), PATCH)
