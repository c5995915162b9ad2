"""Settings of older runs under the names that they have today.

Each function takes the keywords that a saved config gives a class, and returns the name of today's
class and its keywords; CLASSES says which function reads which class.
"""

from collections.abc import Callable, Mapping
from typing import Any

Fields = dict[str, Any]


def _experiment(fields: Fields) -> tuple[str, Fields]:
    """A condition, and a second one beside it, became a tuple of conditions."""
    if "conditions" not in fields:
        both = fields.pop("condition", None), fields.pop("beside", None)
        fields["conditions"] = tuple(one for one in both if one is not None)
    return "Experiment", fields


def _sampling(fields: Fields) -> tuple[str, Fields]:
    """`grid` became the spacing of timesteps."""
    return "Sampling", {"spacing" if name == "grid" else name: x for name, x in fields.items()}


CLASSES: Mapping[str, Callable[[Fields], tuple[str, Fields]]] = {
    "Experiment": _experiment,
    "Sampling": _sampling,
}
NONE = {"Unconditional"}  # classes whose place None has taken


def migrate(name: str, fields: Fields) -> tuple[str, Fields]:
    """The name and keywords of a class as they are called today.

    Args:
        fields: by name; settings inside are made already.
    """
    return CLASSES[name](fields) if name in CLASSES else (name, fields)
