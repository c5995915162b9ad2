"""Settings of older runs under the names that they have today.

Each function takes the keywords that a saved config gives a class, and returns the name of today's
class and its keywords; CLASSES says which function reads which class.
"""

from collections.abc import Callable, Mapping
from typing import Any

Fields = dict[str, Any]

CLASSES: Mapping[str, Callable[[Fields], tuple[str, Fields]]] = {}


def migrate(name: str, fields: Fields) -> tuple[str, Fields]:
    """The name and keywords of a class as they are called today.

    Args:
        fields: by name; settings inside are made already.
    """
    return CLASSES[name](fields) if name in CLASSES else (name, fields)
