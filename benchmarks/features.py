"""Features and statistics per second, here and with pytorch-fid, in turns.

PYTHONPATH=. python benchmarks/features.py [--torch PYTHON] [--images 64] [--batch 16] [--rounds 5]

PYTHON has torch and pytorch-fid (pip install --no-deps pytorch-fid torchvision); what it runs is
a process of its own, which waits while the other one computes. Weights are random. Both start
from uint8 images [N, 64, 64, 3] in memory and end with the mean and covariance of 2048 features.
Wall time, and processor time, which other work on the machine disturbs less.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIDE = 64


def images(count: int) -> np.ndarray:
    """uint8 [count, SIDE, SIDE, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def timed(work) -> tuple[float, float]:
    """Seconds of wall and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def here(count: int, batch: int):
    """Statistics of this package, as a function without arguments."""
    import jax

    from ldm_jax.extractors.extract import make_extract
    from ldm_jax.extractors.names import extractor
    from ldm_jax.metrics.statistics import Running, moments

    network = extractor("inception", "pytorch")
    extract = make_extract(network, jax.jit(network.init)(jax.random.key(0)), ("pool",), batch)
    photos = images(count)

    def work():
        batches = (photos[i : i + batch] for i in range(0, count, batch))
        total = Running()
        for found in extract(batches):
            total.add(found["pool"])
        moments(total.result())

    return work


def theirs(count: int, batch: int):
    """The same with pytorch-fid."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import torch
    from pytorch_fid import inception

    from tests.parity.make import torchvision_alone  # noqa: F401

    load = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda *_: None
    inception.load_state_dict_from_url = lambda *_, **__: None
    network = inception.InceptionV3([3]).eval()
    torch.nn.Module.load_state_dict = load
    photos = images(count)

    def work():
        found = np.empty((count, 2048))
        with torch.no_grad():
            for i in range(0, count, batch):
                x = torch.tensor(photos[i : i + batch]).permute(0, 3, 1, 2) / 255.0
                found[i : i + batch] = network(x)[0].squeeze(3).squeeze(2).numpy()
        found.mean(axis=0), np.cov(found, rowvar=False)

    return work


def serve(count: int, batch: int) -> None:
    """Times pytorch-fid once for each line that comes in."""
    work = theirs(count, batch)
    for _ in sys.stdin:
        print(*timed(work), flush=True)


def main() -> None:
    """Times both in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default=sys.executable)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.images, asked.batch)
        return
    words = [asked.torch, __file__, "--serve", "--images", str(asked.images)]
    server = subprocess.Popen(
        [*words, "--batch", str(asked.batch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask() -> tuple[float, float]:
        server.stdin.write("\n")
        server.stdin.flush()
        return tuple(map(float, server.stdout.readline().split()))

    work = here(asked.images, asked.batch)
    taken = {"here": [], "pytorch-fid": []}
    for turn in range(asked.rounds + 1):
        found = {"here": timed(work), "pytorch-fid": ask()}
        if turn:  # the first compiles
            for name, seconds in found.items():
                taken[name].append(seconds)
    server.stdin.close()
    server.wait()
    for which, kind in enumerate(("wall", "processor")):
        medians = {
            name: statistics.median(pair[which] for pair in pairs) for name, pairs in taken.items()
        }
        speeds = ", ".join(f"{name} {asked.images / s:.2f}" for name, s in medians.items())
        ratio = medians["here"] / medians["pytorch-fid"]
        print(f"images per second of {kind} time: {speeds}; ratio of times {ratio:.2f}")


if __name__ == "__main__":
    main()
