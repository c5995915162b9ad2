"""Makes keys/NAME.txt.gz of the files that hold the keys and shapes of an original checkpoint.

    python -m tests.parity.make.keys KEYS NAME ...

KEYS holds a json a configuration, from key to shape.
"""

import gzip
import json
import sys
from pathlib import Path

from tests.parity.folders import KEYS

if __name__ == "__main__":
    folder, *names = sys.argv[1:]
    KEYS.mkdir(exist_ok=True)
    for name in names:
        shapes = json.loads((Path(folder) / f"{name}.json").read_text())
        lines = [f"{key} {','.join(map(str, shape))}\n" for key, shape in sorted(shapes.items())]
        packed = gzip.compress("".join(lines).encode(), mtime=0)
        (KEYS / f"{name}.txt.gz").write_bytes(packed)
