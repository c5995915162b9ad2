"""What a step would cost, without making one: compiled for shapes, nothing is allocated."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax

from ldm_jax.runtime.compilation import compile_ahead
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.state import apart
from ldm_jax.training import cost
from ldm_jax.training.loop import with_positions
from ldm_jax.training.meter import peak
from ldm_jax.training.task import Task
from ldm_jax.types import Batch, Params, TrainState


def print_plan(task: Task, batch: Batch) -> None:
    """Prints what a step would cost; compiles it, and computes nothing.

    Args:
        batch: of this host.
    """
    experiment = task.experiment
    mesh = devices(experiment.train.devices, experiment.train.mesh)
    step, begin = task.make_step()
    state = mesh.target(jax.eval_shape(begin, task.shapes))
    key = jax.eval_shape(lambda: jax.random.key(0))
    batch = mesh.like(with_positions(batch))
    state, frozen = apart(state, task.objective.frozen(task.shapes))
    arguments = state, frozen, batch, key
    for line in describe(mesh.parallelize(step, state), arguments, experiment.data.batch_size):
        print(f"{task.name}: {line}")


def describe(
    step: Callable, arguments: tuple[TrainState, Params, dict, Any], batch_size: int
) -> Iterator[str]:
    """Lines on parameters, operations, memory, communication and the least time of a step.

    Args:
        step: as `sharding.Devices.parallelize` returns it.
        arguments: its state, frozen, batch and key: shapes, with where they would be.
        batch_size: images of a step, over all devices.
    """
    state, frozen, *_ = arguments
    count = sum(math.prod(x.shape) for x in jax.tree.leaves((state.params, frozen)))
    trained = sum(math.prod(x.shape) for x in jax.tree.leaves(state.ema))
    yield f"{count:,} parameters, {trained:,} of them trained with a moving average"
    compiled = compile_ahead(step, *arguments)
    how = "found in the cache" if compiled.cached else "compiled"
    yield f"the step was {how} in {compiled.seconds:.1f} s"
    held = cost.bytes_a_device(compiled.call)
    if held:
        parts = ", ".join(f"{name} {size / 2**20:.4g}" for name, size in held.items())
        yield f"a device holds {sum(held.values()) / 2**20:.4g} MiB ({parts})"
    sent = cost.collectives(compiled.call.as_text())
    counted = ", ".join(f"{n} {name}" for name, n in sent.items())
    yield f"collectives of a step: {counted or 'none'}"
    if compiled.trace is None:
        yield "operations are not counted with pmap: see the same with --train.devices jit"
        return
    flops = cost.flops(compiled.trace)
    yield f"{flops / 1e9:.4g} GFLOP a step, {flops / batch_size / 1e9:.4g} an image"
    kind, devices = jax.devices()[0].device_kind, jax.device_count()
    best = peak(kind)
    if best is None:
        yield f"the peak of '{kind}' is not known, nor how long a step would take"
        return
    seconds = flops / (best * devices)
    yield (
        f"at the peak of {devices} x {kind}, {best * devices / 1e12:.4g} TFLOP/s, a step takes "
        f"{1e3 * seconds:.4g} ms ({batch_size / seconds:.4g} images/s)"
    )
