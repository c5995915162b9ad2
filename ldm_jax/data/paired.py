"""Sources made of others: with given captions, and of a subject's images and those of its class."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np


class Captioned:
    """A source whose examples have any of the same captions."""

    def __init__(self, source: Any, captions: tuple[str, ...]):
        self._source, self._captions = source, list(captions)
        self.absent = {name: why for name, why in source.absent.items() if name != "text"}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self._source[index], "text": self._captions}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # as copying asks for, before there is a source
            raise AttributeError(name)
        return getattr(self._source, name)


class Paired:
    """Images of a subject, and after them those of its class (DreamBooth, Ruiz et al. 2023).

    In batches, see `order`, one of the first follows one of the second.
    """

    class_names = object_names = ()

    def __init__(self, subject: Any, prior: Any):
        self._subject, self._prior = subject, prior
        self.name = f"{subject.name} and {prior.name}"
        self.absent = {**subject.absent, **prior.absent}

    def __len__(self) -> int:
        return len(self._subject) + len(self._prior)

    def __getitem__(self, index: int) -> dict[str, Any]:
        n = len(self._subject)
        return self._subject[index] if index < n else self._prior[index - n]

    def is_prior(self, index: int) -> bool:
        """Whether an example is of the class."""
        return index >= len(self._subject)

    def order(self, seed: int) -> Callable[[int], int]:
        """The example at each position of an endless stream: of the subject where that is even, of
        the class where it is odd. Of each, all are used once before any is used again."""
        sides = [(0, len(self._subject)), (len(self._subject), len(self._prior))]

        @lru_cache(8)
        def shuffled(side: int, turn: int) -> np.ndarray:
            first, count = sides[side]
            return first + np.random.default_rng([seed, side, turn]).permutation(count)

        def example(position: int) -> int:
            k, side = divmod(int(position), 2)
            turn, row = divmod(k, sides[side][1])
            return int(shuffled(side, turn)[row])

        return example
