"""The first Ctrl-C ends a tool, in small processes that import nothing else."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONG = 20
CASES = {
    "while it starts": "interrupt_me()",
    "where it is caught": """
        interrupt.give_grace(5)
        try:
            interrupt_me()
        except KeyboardInterrupt:
            interrupt.end()
        """,
    "where it is lost": """
        interrupt.give_grace(0.2)
        class Collected:
            def __del__(self):
                interrupt_me()
        Collected()
        """,
    "where a library swallows it": """
        interrupt.give_grace(0.2)
        try:
            interrupt_me()
        except BaseException:
            pass
        """,
    "while closing takes too long": """
        interrupt.give_grace(0.2)
        try:
            interrupt_me()
        finally:
            time.sleep(20)
        """,
}


@pytest.mark.process
@pytest.mark.parametrize("case", CASES)
def test_the_first_interrupt_ends_it(case):
    start = """
        import os, signal, time
        from ldm_jax.runtime import interrupt

        def interrupt_me():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

        interrupt.end_on_interrupt()
        """
    program = "\n".join(map(textwrap.dedent, (start, CASES[case], "time.sleep(20)")))
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LONG - 5)
    assert (done.returncode, done.stderr, done.stdout) == (130, "error: interrupted\n", "")
