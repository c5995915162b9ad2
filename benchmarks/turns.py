"""Two processes that take turns: here and a peer that need not have JAX.

A benchmark makes `sides`, functions of a network that give its number of parameters and a function
of one piece of work, and calls `main`. Each side is a process of its own, which holds its network;
they work in turns, once a round, and wait while the other computes.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

PEER = "diffusers"


def serve(side: Callable, network: tuple) -> None:
    """Works once for each line that is read, and answers how long it took."""
    count, work = side(network)
    start = time.perf_counter()
    for _ in range(2):  # the first compiles
        work()
    print(json.dumps([count, time.perf_counter() - start]), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        print(json.dumps(time.perf_counter() - start), flush=True)


class Side:
    """A process that serves."""

    def __init__(self, python: str, side: str, name: str):
        words = [python, sys.argv[0], "--serve", side, "--network", name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(words, **pipes)
        self.count, self.first = self._answer()

    def work(self) -> float:
        """Seconds it took once."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} failed with status {self.process.wait()}")
        return json.loads(line)


def main(doc: str, networks: dict[str, tuple], sides: dict[str, Callable], rounds: int) -> None:
    """Measures each network, and prints parameters, medians of wall time and their ratio.

    Args:
        sides: "ours" and PEER.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--network", nargs="+", choices=networks, default=list(networks))
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--torch", metavar="PYTHON", help="with torch and diffusers")
    parser.add_argument("--serve", choices=sides, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(sides[given.serve], networks[given.network[0]])
        return
    pythons = {"ours": sys.executable} | ({PEER: given.torch} if given.torch else {})
    for name in given.network:
        running = {of: Side(python, of, name) for of, python in pythons.items()}
        taken = {of: [] for of in running}
        for _ in range(given.rounds):
            for of, side in running.items():
                taken[of].append(side.work())
        medians = {of: statistics.median(times) for of, times in taken.items()}
        for of, side in running.items():
            low, high = min(taken[of]), max(taken[of])
            print(
                f"{name} {of}: {side.count} parameters, {1e3 * medians[of]:.1f} ms "
                f"({1e3 * low:.1f} to {1e3 * high:.1f}), first two {side.first:.1f} s"
            )
            side.process.stdin.close()
            side.process.wait()
        if given.torch:
            print(f"{name} ratio {medians['ours'] / medians[PEER]:.3f}", flush=True)
