"""What an exported program may call outside of itself.

A program in StableHLO computes with arrays alone, but for custom calls: functions of the machine
that it finds by their name, among them those that call back into Python or run a given kernel. A
folder of programs may come from anyone, so only what our own exports call is let through.
"""

import re

from ldm_jax.errors import InputError

TARGETS = {
    "Sharding",  # marks where an array lies
    "cu_threefry2x32_ffi",  # random bits, where JAX is set to draw them by a kernel
    "hip_threefry2x32_ffi",
    "__cudnn$fmhaSoftmax",  # attention by cuDNN
    "__cudnn$fmhaScaleBiasSoftmax",
    "tpu_custom_call",  # attention on a TPU, whose kernel is part of the program
}
CALL = re.compile(r'custom_call @(?:([\w.$-]+)|"((?:[^"\\]|\\.)*)")\(')


def check_custom_calls(program: str, where: str) -> None:
    """Raises InputError where a program calls another function of the machine than TARGETS.

    Args:
        program: StableHLO as text.
        where: the program's file, for the error.
    """
    found = {name or quoted for name, quoted in CALL.findall(program)}
    rest = CALL.sub(lambda call: "" if (call[1] or call[2]) in TARGETS else "custom_call", program)
    if "custom_call" not in rest:
        return
    names = ", ".join(f"'{name}'" for name in sorted(found - TARGETS)) or "in a way not read here"
    raise InputError(
        f"{where} calls functions of the machine, {names}: expected one of "
        f"{', '.join(sorted(TARGETS))}; export the run again with scripts/export.py"
    )
