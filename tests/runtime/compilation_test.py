"""What was compiled once is found again."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from ldm_jax.errors import InputError
from ldm_jax.runtime import compilation


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of this test's own."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setenv("LDM_JAX_CACHE", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.experimental.compilation_cache.compilation_cache.reset_cache()
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    jax.experimental.compilation_cache.compilation_cache.reset_cache()


def program():
    return jax.jit(lambda x: jnp.tanh(x) * 3.25 + 1.0)


def test_a_second_launch_finds_the_program_in_the_cache(folder):
    compilation.use_cache()
    first = compilation.compile_ahead(program(), jnp.ones(5))
    assert not first.cached
    assert list((folder / "compiled").rglob("*-cache"))
    jax.clear_caches()
    second = compilation.compile_ahead(program(), jnp.ones(5))
    assert second.cached
    assert jnp.array_equal(second.call(jnp.ones(5)), first.call(jnp.ones(5)))


@pytest.mark.parametrize("place", ["no home", "a file"])
def test_without_a_cache_a_tool_works_and_says_how_to_have_one(folder, monkeypatch, capsys, place):
    """Of a user without an entry in the system's list, as in a container."""

    def expanduser(path):
        raise RuntimeError("Could not determine home directory.")

    if place == "no home":
        monkeypatch.delenv("LDM_JAX_CACHE")
        monkeypatch.setattr(Path, "expanduser", expanduser)
        with pytest.raises(
            InputError, match="without a home folder: expected HOME, or LDM_JAX_CACHE"
        ):
            compilation.cache_folder()
    else:
        (folder / "file").write_text("")
        monkeypatch.setenv("LDM_JAX_CACHE", str(folder / "file"))
    compilation.use_cache()
    assert jax.config.jax_compilation_cache_dir is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: compiled programs are not kept: ") and (
        "LDM_JAX_CACHE" in line or "file" in line
    )


def test_a_cache_that_was_chosen_is_left(folder):
    jax.config.update("jax_compilation_cache_dir", str(folder / "own"))
    compilation.use_cache()
    assert jax.config.jax_compilation_cache_dir == str(folder / "own")


def test_shapes_suffice_to_compile(folder):
    found = compilation.compile_ahead(program(), jax.ShapeDtypeStruct((5,), jnp.float32))
    assert found.trace.in_avals[0].shape == (5,)
    assert found.call(jnp.ones(5)).shape == (5,)
