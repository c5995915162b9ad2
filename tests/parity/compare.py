"""How far two arrays are apart, and how to print it."""

from collections.abc import Mapping

import numpy as np

Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]  # name -> (ours, reference)


def errors(ours: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """The largest difference, and the same relative to the largest reference."""
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    if ours.shape != reference.shape:
        raise ValueError(f"shape {ours.shape}: expected {reference.shape}, the reference's")
    largest = np.abs(ours - reference).max()
    return largest, largest / np.abs(reference).max()


def measured(pairs: Pairs) -> dict[str, tuple[float, float]]:
    """The errors of each array."""
    return {name: errors(*pair) for name, pair in pairs.items()}


def table(title: str, pairs: Pairs) -> str:
    """A line an array, as rows of a Markdown table."""
    return "\n".join(
        f"| {title} | {name} | {largest:.1e} | {relative:.1e} |"
        for name, (largest, relative) in measured(pairs).items()
    )
