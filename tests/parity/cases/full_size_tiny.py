"""The published sizes of the tiny autoencoder beside diffusers' numbers, in float64.

    python -m tests.parity.make.reference --full-size FOLDER     # torch, diffusers
    python -m tests.parity.cases.full_size_tiny FOLDER

Exits with 1 where an output or a gradient is further off than the tolerance.
"""

import sys
from pathlib import Path

import jax

from tests.parity import compare
from tests.parity.cases import network_cases as cases
from tests.parity.cases import networks, small

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
