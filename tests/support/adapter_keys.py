"""Keys and shapes of published adapters."""

import gzip
from pathlib import Path

KEYS = Path(__file__).parents[1] / "parity" / "adapter_keys"


def published(name: str) -> dict[str, tuple[int, ...]]:
    """Key -> shape."""
    lines = gzip.decompress((KEYS / f"{name}.txt.gz").read_bytes()).decode().splitlines()
    return {key: tuple(map(int, shape.split(","))) for key, shape in map(str.split, lines)}
