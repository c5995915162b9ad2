"""Where what the comparison stores is."""

from pathlib import Path

ARRAYS = Path(__file__).parent / "arrays"  # outputs of the references
KEYS = Path(__file__).parent / "keys"  # names and shapes in published files
