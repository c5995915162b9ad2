"""Files from the net, kept in a cache."""

import hashlib
import os
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from ldm_jax.errors import InputError
from ldm_jax.runtime.compilation import cache_folder
from ldm_jax.settings import at_home


class Published(NamedTuple):
    """A file that can be had.

    sha256:  what it hashes to, in hexadecimal; the first digits suffice
    package: on PyPI, whose module holds the file at `inside`; "" for none
    also:    other names of the file in torch's cache
    """

    url: str
    sha256: str
    package: str = ""
    inside: str = ""
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def find(self, prefix: str = "") -> Path:
        """Where it is: in an installed package, which is not imported, in torch's cache, in ours
        as PREFIX and its name, or fetched now; InputError as `download`."""
        spec = find_spec(self.package.replace("-", "_")) if self.package else None
        inside = (spec and spec.submodule_search_locations) or ()
        torch_home = at_home(os.environ.get("TORCH_HOME") or "~/.cache/torch")
        places = [Path(place) / self.inside for place in inside]
        places += [torch_home / "hub/checkpoints" / each for each in (self.name, *self.also)]
        found = next((path for path in places if path.is_file()), None)
        return found or download(self.url, self.sha256, prefix + self.name)


def download(url: str, sha256: str, name: str) -> Path:
    """The file behind a URL, from the cache or fetched into it.

    Args:
        sha256: the first digits of what the content hashes to, in hexadecimal.
        name: of the file in the cache.

    Raises:
        InputError: it cannot be downloaded, or is another file; with where to put it.
    """
    path = cache_folder() / name
    if path.is_file():
        return path
    remedy = f"fetch {url} by other means and save it as {path}"
    partial = path.with_name(f"{name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _fetch(url, partial)
        if not found.startswith(sha256):
            raise InputError(
                f"{url} has sha256 {found[: len(sha256)]}: expected {sha256}; {remedy}"
            )
        os.replace(partial, path)
    except OSError as error:  # URLError is one
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{url} cannot be fetched ({reason}): {remedy}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _fetch(url: str, path: Path) -> str:
    """Writes what is behind a URL; returns its sha256."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=30) as response, path.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0) or None
        with tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=None) as bar:
            while block := response.read(1 << 20):
                file.write(block)
                digest.update(block)
                bar.update(len(block))
    return digest.hexdigest()
