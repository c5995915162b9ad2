"""The published sizes of the tiny autoencoder beside diffusers' numbers, in float64.

    PYTHONPATH=. python tests/parity/make_reference.py --full-size FOLDER     # torch, diffusers
    PYTHONPATH=. python tests/parity/full_size_tiny.py FOLDER

Exits with 1 where an output or a gradient is further off than the tolerance.
"""

import sys
from pathlib import Path

import cases
import compare
import jax
import networks
import small

TOLERANCE = 1e-12  # of the largest reference


def main(folder: Path) -> int:
    """Prints the table."""
    jax.config.update("jax_enable_x64", True)
    close = True
    for name, case in cases.FULL_SIZE.items():
        found = small.beside(networks.tiny(case.config), case, folder / f"{name}.npz")
        print(compare.table(name, found), flush=True)
        close &= all(relative < TOLERANCE for _, relative in compare.measured(found).values())
    return 0 if close else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
