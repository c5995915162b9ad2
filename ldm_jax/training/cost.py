"""What a step costs, read from its trace."""

import math
import re
from typing import Any

import jax
import numpy as np

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


def flops(jaxpr: Any) -> float:
    """Floating-point operations of the matrix products and convolutions of a traced function.

    A product of [m, k] and [k, n] is 2 m k n of them. What is computed again in the backward pass
    counts again. Bodies of scans and kernels count as often as they run (the compiler's own count
    takes them once), of branches the dearest, bodies of `while` once. Over all devices.
    """
    total = 0.0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "dot_general":
            total += _of_product(equation)
        elif name == "conv_general_dilated":
            total += _of_convolution(equation)
        elif name == "cond":
            total += max(flops(branch) for branch in parameters["branches"])
        else:
            within = sum(flops(body) for body in _bodies(parameters))
            if name == "scan":
                within *= parameters["length"]
            if name == "shard_map":
                within *= parameters["mesh"].size
            if name == "pallas_call":
                within *= math.prod(parameters["grid_mapping"].grid)
            total += within
    return total


def _bodies(parameters: dict) -> list:
    """The functions that an equation calls."""
    kinds = (jax.extend.core.Jaxpr, jax.extend.core.ClosedJaxpr)
    leaves = jax.tree.leaves(
        [value for value in parameters.values() if isinstance(value, (*kinds, list, tuple))],
        is_leaf=lambda x: isinstance(x, kinds),
    )
    return [leaf for leaf in leaves if isinstance(leaf, kinds)]


def _of_product(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2.0 * math.prod(left[i] for i in contracted) * np.prod(equation.outvars[0].aval.shape)


def _of_convolution(equation: Any) -> float:
    """2 x (values out) x (values in each), where a kernel of zeros between is not multiplied."""
    kernel = equation.invars[1].aval.shape
    places = equation.params["dimension_numbers"].rhs_spec  # (out, in, *space)
    each = math.prod(kernel[i] for i in places[1:])
    spread = math.prod(equation.params["lhs_dilation"])
    return 2.0 * each * np.prod(equation.outvars[0].aval.shape) / spread


def collectives(text: str) -> dict[str, int]:
    """How often each kind of communication occurs in a compiled program's text."""
    found = {name: len(re.findall(rf" {name}(?:-start)?\(", text)) for name in COLLECTIVES}
    return {name: count for name, count in found.items() if count}


def bytes_a_device(compiled: Any) -> dict[str, int] | None:
    """What a compiled program holds on each device while it runs; None where it is not known.

    "state" is what it is given, "temporary" what it needs on the way, "results" what it gives and
    does not write over what it was given.
    """
    stats = compiled.memory_analysis()
    if stats is None:
        return None
    return {
        "state": stats.argument_size_in_bytes,
        "temporary": stats.temp_size_in_bytes,
        "results": stats.output_size_in_bytes - stats.alias_size_in_bytes,
    }
