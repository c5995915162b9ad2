"""What may import what, read from the syntax trees."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "ldm_jax"
LAYERS = (
    {"config", "types", "errors", "runtime"},
    {"diffusion", "nn"},
    {
        "autoencoders",
        "backbones",
        "encoders",
        "conditioning",
        "adapters",
        "losses",
        "extractors",
        "data",
        "metrics",
    },
    {"checkpoint", "train_step", "weights"},
)
NETWORKS = {"nn", "autoencoders", "backbones", "encoders", "conditioning", "losses", "extractors"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = sorted((ROOT / PACKAGE).rglob("*.py"))
MODULE_NAMES = {module_name(path) for path in PATHS}
TREES = {module_name(path): ast.parse(path.read_text()) for path in PATHS}
TOOLS = {
    path.name: ast.parse(path.read_text())
    for path in [*ROOT.glob("*.py"), *ROOT.glob("scripts/*.py"), *ROOT.glob("configs/*.py")]
}


def imports(tree: ast.AST) -> set[str]:
    """Dotted names that a file imports, wherever in it; of `from a import b` also a.b, and a only
    where a.b is no module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if names <= MODULE_NAMES else {node.module, *names}
    return found


def own(name: str) -> set[str]:
    """The modules of the package that a module imports."""
    return (imports(TREES[name]) & TREES.keys()) - {PACKAGE, name}


def part(name: str) -> str:
    """ldm_jax.diffusion.samplers.ddim -> diffusion."""
    return name.split(".")[1]


def layer(name: str) -> int:
    """The layer of a module; the last is of everything that no lower layer lists."""
    places = [number for number, parts in enumerate(LAYERS) if part(name) in parts]
    return places[0] if places else len(LAYERS)


MODULES = [name for name in TREES if name != PACKAGE]


def test_the_trees_are_read():
    assert len(MODULES) > 40
    assert "ldm_jax.diffusion.process" in own("ldm_jax.diffusion.samplers.ddim")
    assert "ldm_jax.checkpoint" in own("ldm_jax.runs.paths")
    examples = ("types", "nn.norm", "data.folder", "train_step.state", "runs", "evaluate.captions")
    assert [layer(f"ldm_jax.{name}") for name in examples] == [0, 1, 2, 3, 4, 4]


def test_a_module_imports_from_its_own_layer_or_lower_ones():
    upwards = [(a, b) for a in MODULES for b in own(a) if layer(b) > layer(a)]
    assert not upwards


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
    assert {part(name) for name in linen} == NETWORKS


def test_the_mathematics_knows_no_network():
    used = {part(b) for a in MODULES if part(a) == "diffusion" for b in own(a)}
    assert used <= {"diffusion", *LAYERS[0]}


def test_nothing_runs_on_torch_or_tensorflow():
    for name, tree in (TREES | TOOLS).items():
        found = {other.split(".")[0] for other in imports(tree)}
        assert not found & {"torch", "torchvision", "tensorflow", "keras"}, name


def test_only_sharding_places_arrays():
    words = {"pmap", "device_put", "make_mesh", "Mesh", "NamedSharding", "PartitionSpec"}
    for name in MODULES:
        used = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}
        used |= {other.rpartition(".")[2] for other in imports(TREES[name])}
        assert bool(used & words) == (name == f"{PACKAGE}.runtime.sharding"), name


def test_only_build_asks_which_kind_a_config_is():
    for name in MODULES:
        if any(isinstance(node, ast.Match) for node in ast.walk(TREES[name])):
            assert part(name) == "build", name


def test_no_two_files_of_tests_have_one_name():
    """Pytest imports them by it."""
    names = [path.name for path in (ROOT / "tests").rglob("*_test.py")]
    assert len(names) == len(set(names))
