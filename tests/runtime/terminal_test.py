"""What stands around the work: disks, pipes, homes and small encodings."""

import contextlib
import errno
import io
import os
import pwd
import signal
from pathlib import Path

import jax
import pytest

from ldm_jax import cli
from ldm_jax.errors import InputError
from ldm_jax.runtime import compilation
from ldm_jax.settings import at_home


def ended(tool, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(tool)
    return stop.value.code, capsys.readouterr().err


def raising(error):
    def tool(words):
        raise error

    return tool


def chained():
    try:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    except OSError as error:
        raise ValueError("the array was not written") from error


@pytest.mark.parametrize(
    ("tool", "status", "line"),
    [
        (lambda words: Path("a very long prompt " * 20).is_file(), 2, "File name too long"),
        (lambda words: Path("/none/x").write_bytes(b""), 2, "'/none/x': No such file"),
        (lambda words: Path("/").read_bytes(), 2, "'/': Is a directory"),
        (raising(PermissionError(errno.EACCES, "Permission denied", "x")), 2, "'x': Permission"),
        (lambda words: "\udcff".encode(), 2, "text that is not UTF-8"),
        (raising(OSError(errno.ENOSPC, "No space left on device")), 1, "free space"),
        (raising(RuntimeError("write() failed: No space left on device; writing x")), 1, "free"),
        (raising(OSError("16 requested and 0 written")), 1, "nothing more can be written"),
        (lambda words: chained(), 1, "nothing more can be written"),
        (raising(MemoryError("Unable to allocate 4 TiB")), 1, "ask for less at once"),
        (raising(RuntimeError("RESOURCE_EXHAUSTED: Out of memory")), 1, "out of memory"),
    ],
)
def test_what_the_system_refuses_is_one_line(tool, status, line, capsys):
    found, said = ended(tool, capsys)
    assert (found, said.count("\n"), said.startswith("error: ")) == (status, 1, True)
    assert line in said and len(said) < 400


def test_an_error_of_the_system_without_a_file_is_a_defect():
    with pytest.raises(OSError, match="Bad file descriptor"):
        cli.main(raising(OSError(errno.EBADF, "Bad file descriptor")))


@contextlib.contextmanager
def closed():
    """Standard output is a pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
        yield


@pytest.mark.parametrize("flush", [True, False])
def test_a_command_whose_output_is_read_no_more_ends_quietly(flush, capsys):
    with closed():
        code, said = ended(lambda words: print("a", flush=flush), capsys)
        print("what is left in the buffer goes nowhere")
    assert (code, said) == (141, "")


def test_training_is_asked_to_save_instead(monkeypatch):
    asked = []
    monkeypatch.setattr(signal, "getsignal", lambda number: lambda *given: asked.append(given[0]))

    def tool(words):
        for _ in range(3):
            print("loss 1", flush=True)

    with closed():
        cli.main(tool)
    assert asked == [signal.SIGPIPE]


def test_characters_that_a_terminal_lacks_are_printed_as_codes():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    with contextlib.redirect_stdout(stream):
        cli.main(lambda words: print("stra\xdfe \u4e2d \udcff"))
    assert stream.buffer.getvalue() == b"stra\xdfe \\u4e2d \\udcff\n"


def test_without_a_home_nothing_is_kept_and_that_is_said(monkeypatch, capsys):
    def nobody(uid):
        raise KeyError(uid)

    for name in ("HOME", "LDM_JAX_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(InputError, match="expected HOME, or LDM_JAX_CACHE=FOLDER"):
        compilation.cache_folder()
    with pytest.raises(InputError, match="'~/images' is in a home folder that is not known"):
        at_home("~/images")
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        compilation.use_cache()
        monkeypatch.setenv("LDM_JAX_CACHE", "/proc/none")
        compilation.use_cache()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all("compiled programs are not kept" in line for line in said)
