"""Two processes that take turns: here and a peer that need not have JAX.

A benchmark makes `sides`, functions of a network that give its number of parameters and a function
of one piece of work, and calls `main`. Each side is a process of its own, which holds its network;
they work in turns, once a round, and wait while the other computes. A benchmark that prints other
things has a `main` of its own, of Sides that `serve`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

PEER = "diffusers"


def serve(count: int, work: Callable[..., None]) -> None:
    """Works once for each line that is read, a list of what to give, and prints how long it took.

    Before, it works twice with nothing given, the first of which compiles, and prints `count` and
    how long these took.
    """
    start = time.perf_counter()
    for _ in range(2):
        work()
    print(json.dumps([count, time.perf_counter() - start]), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        work(*json.loads(line))
        print(json.dumps(time.perf_counter() - start), flush=True)


class Side:
    """A process that serves: this benchmark again, with other words."""

    def __init__(self, python: str, *words: str):
        words = [python, sys.argv[0], *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(words, **pipes)
        self.count, self.first = self._answer()

    def work(self, *given: int) -> float:
        """Seconds it took once."""
        self.process.stdin.write(json.dumps(given) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Waits until it has ended."""
        self.process.stdin.close()
        self.process.wait()

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
        serve(*sides[given.serve](networks[given.network[0]]))
        return
    pythons = {"ours": sys.executable} | ({PEER: given.torch} if given.torch else {})
    for name in given.network:
        running = {
            of: Side(python, "--serve", of, "--network", name) for of, python in pythons.items()
        }
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
            side.end()
        if given.torch:
            print(f"{name} ratio {medians['ours'] / medians[PEER]:.3f}", flush=True)
