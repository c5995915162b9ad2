"""SIGTERM, which schedulers send before they kill, and the end of what reads what is printed."""

import signal
import threading

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Notes a SIGTERM, to be acted upon where a step ends; a context manager.

    Several hosts may receive it at different times, or only one of them: they agree on one step
    through the service that jax.distributed starts. A second SIGTERM ends the process at once.
    """

    def __init__(self):
        self.number = 0  # of the signal; SIGPIPE where nobody reads what is printed
        self._before = None
        self._alone = jax.process_count() == 1

    def __enter__(self):
        if self._alone and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *error):
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number, frame) -> None:
        self.number = number
        signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)

    def reached(self, step: int) -> bool:
        """Whether to end after `step`: the same on every host."""
        if self._alone:
            return bool(self.number)
        return multihost_utils.reached_preemption_sync_point(step)
