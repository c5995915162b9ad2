"""A config file: Python that builds an experiment, or the config of a run, read as data.

It may import other files of its folder, such as the base.py of its family.
"""

import contextlib
import importlib
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldm_jax.errors import InputError
from ldm_jax.experiments.cascade import Cascade
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
    return reader.check_experiment(_run(path), path)


def load_cascade(path: str | Path) -> Cascade:
    """The checked `config` of a config file, which is a cascade.

    Raises:
        InputError: see `load_config`.
    """
    if not Path(path).is_file():
        raise InputError(f"cascade '{path}' does not exist: expected configs/cascades/NAME.py")
    return reader.check_experiment(_run(path), path, (Cascade,))


def _run(path: str | Path) -> Any:
    """The `config` that a Python file makes."""
    try:
        with _importing_from(Path(path).resolve().parent):
            return runpy.run_path(str(path)).get("config")
    except ModuleNotFoundError as error:
        raise InputError(
            f"config '{path}' imports '{error.name}', which does not exist: expected "
            f"{error.name}.py in the folder of the config, or an installed package"
        ) from error
    except TypeError as error:
        raise InputError(f"config '{path}': {_explain(error)}") from error
    except Exception as error:
        raise InputError(f"config '{path}' fails: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Imports find the files of a folder first, and are forgotten: each folder has its base.py."""
    own = {path.stem for path in folder.glob("*.py")} - sys.stdlib_module_names
    others = {name: sys.modules.pop(name) for name in own & sys.modules.keys()}
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes
        for name in own:
            sys.modules.pop(name, None)
        sys.modules.update(others)


def _explain(error: TypeError) -> str:
    """An unexpected keyword, with the nearest right spelling."""
    found = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not found or found[1] not in reader.settings():
        return str(error)
    return reader.unknown_field(reader.settings()[found[1]], found[2])
