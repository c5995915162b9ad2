"""Nearest neighbours among embeddings, exactly (for retrieval-augmented diffusion)."""

from pathlib import Path

import numpy as np

from ldm_jax.errors import InputError, reading

ROWS = 1024  # queries that are compared at a time


def load(path: str, dim: int, what: str) -> np.ndarray:
    """The embeddings in a .npy, or in those of a folder by name: float32 [N, dim].

    Args:
        what: the name of the path's setting.

    Raises:
        InputError: no such file, or not such an array.
    """
    if Path(path).is_dir():
        files = sorted(Path(path).glob("*.npy"))
        if not files:
            raise InputError(f"{what} '{path}' has no .npy: expected some, each [N, {dim}]")
        return np.concatenate([load(str(file), dim, what) for file in files])
    if not Path(path).is_file():
        raise InputError(f"{what} '{path}' does not exist: expected a .npy of shape [N, {dim}]")
    with reading(f"{what} '{path}'", "a .npy of numbers"):
        rows = np.load(path, allow_pickle=False)
        if not isinstance(rows, np.ndarray):  # an .npz under that name
            raise ValueError("it holds several arrays")
    if rows.ndim != 2 or rows.shape[1] != dim or rows.dtype.kind != "f" or not len(rows):
        raise InputError(
            f"{what} '{path}' is {rows.dtype} {list(rows.shape)}: expected floats [N, {dim}], the "
            "width of the model's embeddings"
        )
    if bad := np.count_nonzero(~np.isfinite(rows).all(axis=1)):
        raise InputError(f"{what} '{path}' has {bad} rows with NaN or infinity: write it again")
    return rows.astype(np.float32)


def nearest(rows: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k rows of the greatest cosine similarity: int [Q, k], the nearest first.

    Args:
        rows: [N, d], k <= N.
        queries: [Q, d].
    """
    rows, queries = unit(rows), unit(queries)
    found = []
    for start in range(0, len(queries), ROWS):
        similarity = queries[start : start + ROWS] @ rows.T  # [q, N]
        best = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found)


def nearest_others(rows: np.ndarray, k: int) -> np.ndarray:
    """For each row, the indices of the k nearest others: int [N, k], k < N."""
    near = nearest(rows, rows, k + 1)
    others = near != np.arange(len(rows))[:, None]
    others[others.all(axis=1), -1] = False  # where more than k are equal to the row itself
    return near[others].reshape(len(rows), k)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows [N, d] at length one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
