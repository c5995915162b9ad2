"""Makes keys/NAME.txt.gz of the files that hold the keys and shapes of an original checkpoint.

    python tests/parity/make_keys.py KEYS NAME ...

KEYS holds a json a configuration, from key to shape.
"""

import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent / "keys"

if __name__ == "__main__":
    folder, *names = sys.argv[1:]
    HERE.mkdir(exist_ok=True)
    for name in names:
        shapes = json.loads((Path(folder) / f"{name}.json").read_text())
        lines = [f"{key} {','.join(map(str, shape))}\n" for key, shape in sorted(shapes.items())]
        packed = gzip.compress("".join(lines).encode(), mtime=0)
        (HERE / f"{name}.txt.gz").write_bytes(packed)
