"""A config file: Python that builds an experiment, or the config of a run, read as data."""

import re
import runpy
from pathlib import Path
from typing import Any

from ldm_jax.errors import InputError
from ldm_jax.runs import reader


def load_config(path: str | Path) -> Any:
    """The checked `config` of a config file: Python, or data where it is that of a run.

    Raises:
        InputError: no such file, not a config, an unknown field, or a field of the wrong type.
    """
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "does not exist"
        raise InputError(f"config '{path}' {what}: expected a file such as configs/demo.py")
    if reader.is_in_run(Path(path)):
        return reader.read(Path(path))
    try:
        config = runpy.run_path(str(path)).get("config")
    except TypeError as error:
        raise InputError(f"config '{path}': {_explain(error)}") from error
    except Exception as error:
        raise InputError(f"config '{path}' fails: {type(error).__name__}: {error}") from error
    return reader.check_experiment(config, path)


def _explain(error: TypeError) -> str:
    """An unexpected keyword, with the nearest right spelling."""
    found = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not found or found[1] not in reader.settings():
        return str(error)
    return reader.unknown_field(reader.settings()[found[1]], found[2])
