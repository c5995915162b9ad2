"""What may import what, read from the syntax trees."""

import ast
from graphlib import TopologicalSorter

from tests.house.source import (
    MODULES,
    PACKAGE,
    ROOT,
    TOOLS,
    TREES,
    assert_none,
    imports,
    own,
    parsed,
    part,
)

LAYERS = (
    {"errors", "types", "settings", "sections", "runtime"},
    {"diffusion", "nn"},
    {"encoders", "extractors", "losses", "metrics", "data"},
    {"weights"},
    {"autoencoders", "backbones", "conditioning", "adapters"},
    {"train_step", "checkpoint"},
    {"experiments", "config"},
    {"runs"},
    {"sampling"},
    {"evaluate"},
    {"training"},
    {"convert"},
    {"tools", "cli", "web", "library"},
)
NETWORKS = {"nn", "autoencoders", "backbones", "encoders", "conditioning", "losses", "extractors"}
PLACES = {part: number for number, parts in enumerate(LAYERS) for part in parts}


def layer(name: str) -> int:
    """The layer of a module; parts without one count as the settings of experiments."""
    return PLACES.get(part(name), PLACES["experiments"])


def test_the_trees_are_read():
    assert len(MODULES) > 40
    assert "ldm_jax.diffusion.process" in own("ldm_jax.diffusion.samplers.ddim")
    assert "ldm_jax.checkpoint" in own("ldm_jax.runs.paths")
    examples = ("types", "nn.norm", "data.folder", "train_step.state", "runs", "evaluate.captions")
    assert [layer(f"ldm_jax.{name}") for name in examples] == [0, 1, 2, 5, 7, 9]


def test_each_part_has_a_layer():
    assert_none("parts", {part(name) for name in MODULES} - PLACES.keys())


def test_a_module_imports_from_its_own_layer_or_lower_ones():
    upwards = {f"{a} -> {b}" for a in MODULES for b in own(a) if layer(b) > layer(a)}
    assert_none("layers", upwards)


def test_only_the_command_line_and_the_reader_of_runs_import_what_configs_import():
    users = {name for name in MODULES if f"{PACKAGE}.config" in own(name)}
    assert_none("config", users - {f"{PACKAGE}.cli", f"{PACKAGE}.runs.reader"})


def test_no_imports_go_in_a_circle():
    list(TopologicalSorter({name: own(name) for name in MODULES}).static_order())


def test_no_folders_import_each_other():
    """Each part of the package comes before or after each other one."""
    graph = {part(name): set() for name in MODULES}
    for name in MODULES:
        graph[part(name)] |= {part(other) for other in own(name)} - {part(name)}
    list(TopologicalSorter(graph).static_order())


def test_only_networks_know_of_flax_linen():
    linen = {name for name in MODULES for other in imports(TREES[name]) if "flax.linen" in other}
    assert {part(name) for name in linen} <= NETWORKS


def test_the_mathematics_knows_no_network():
    used = {part(b) for a in MODULES if part(a) == "diffusion" for b in own(a)}
    assert_none("mathematics", used - {"diffusion", *LAYERS[0]})


def test_nothing_runs_on_torch_or_tensorflow():
    files = [*TOOLS, *(ROOT / "configs").rglob("*.py")]
    for name, tree in (TREES | {path: parsed(path) for path in files}).items():
        found = {other.split(".")[0] for other in imports(tree)}
        assert not found & {"torch", "torchvision", "tensorflow", "keras"}, name


def test_only_sharding_places_arrays():
    words = {"pmap", "device_put", "make_mesh", "Mesh", "NamedSharding", "PartitionSpec"}
    for name in MODULES:
        used = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}
        used |= {
            other.rpartition(".")[2] for other in imports(TREES[name]) if other.startswith("jax.")
        }
        assert bool(used & words) == (name == f"{PACKAGE}.runtime.sharding"), name


def test_folders_of_tests_are_packages():
    """So that two files may have one name."""
    for path in (ROOT / "tests").rglob("*_test.py"):
        assert (path.parent / "__init__.py").exists(), path.parent
