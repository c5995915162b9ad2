"""The report of a comparison, with caveats."""

from collections.abc import Iterator
from typing import Any

USUAL = 50_000  # samples of published FIDs


def flags(report: dict[str, Any]) -> Iterator[str]:
    """Reasons why a report's numbers do not compare with published ones, a line each."""
    ours, theirs, network = report["samples"], report["reference"], report["extractor"]
    if network["distance"] not in ("FID", "FD-DINOv2"):
        yield f"the distance is a {network['distance']}, not FID: other scale, other order"
    if network["published"] is False:
        yield "the extractor's weights are not the published file: its digest differs"
    for name, found in (("samples", ours), ("reference", theirs)):
        if found["num"] is None:
            yield f"the number of images of the {name}' statistics is not known"
    if ours["num"] is not None and ours["num"] < USUAL:
        yield f"N = {ours['num']} samples, fewer than {USUAL}: the distance is biased upwards"
    if None not in (ours["num"], theirs["num"]) and ours["num"] != theirs["num"]:
        yield f"unequal numbers: {ours['num']} samples, {theirs['num']} real images"
    if ours["size"] and theirs["size"] and ours["size"] != theirs["size"]:
        yield (
            f"unequal sizes: samples of {_pixels(ours['size'])}, real images of "
            f"{_pixels(theirs['size'])} pixels; data:RUN prepares the latter alike"
        )
    for name, found in (("samples", ours), ("reference", theirs)):
        lossy = [kind for kind in ("JPEG", "WEBP") if kind in found.get("format", "")]
        if lossy:
            yield f"{name} are lossy files ({', '.join(lossy)}), which alone changes FID"
        if found["size"]:
            yield f"{name} were resized from {_pixels(found['size'])}: {network['resize']}"


def _pixels(size: list[int]) -> str:
    return f"{size[0]}x{size[1]}"


def markdown(report: dict[str, Any]) -> str:
    """The report in Markdown."""
    network, context = report["extractor"], report["context"]
    rows = {name: x for name, x in report["metrics"].items() if name != "nearest"}
    if floor := context.get("floor"):
        title = f"floor: {floor['num']} real images against {floor['rest']} others"
        rows[title] = floor["distance"]
    for rung in context.get("ladder", ()):
        title = f"the same {rung['num']} with noise of {rung['noise']:g}/255"
        rows[title] = rung["distance"]
    lines = [f"# {report['samples']['name']} against {report['reference']['name']}", ""]
    lines += ["| metric | value |", "|---|---|"]
    lines += [f"| {name} | {_value(value)} |" for name, value in rows.items()]
    kept = {key: network[key] for key in ("title", "weights", "sha256", "resize")}
    sets = {"Samples": report["samples"], "Reference": report["reference"], "Extractor": kept}
    for name, found in sets.items():
        lines += ["", f"## {name}", "", *_items(found)]
    if report["flags"]:
        lines += ["", "## Caveats", "", *(f"- {flag}" for flag in report["flags"])]
    return "\n".join(lines) + "\n"


def _items(found: dict[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        if value is not None:
            shown = _pixels(value) if name == "size" else _listed(value)
            yield f"- {name}: {shown}"


def _listed(value: Any) -> str:
    """A value, or the items of a dict, one after the other."""
    if not isinstance(value, dict):
        return str(value)
    inner = {key: each for key, each in value.items() if each is not None}
    return ", ".join(
        f"{key} ({_listed(each)})" if isinstance(each, dict) else f"{key} {each}"
        for key, each in inner.items()
    )


def _value(value: Any) -> str:
    if isinstance(value, dict):
        more = f" (subsets of {value['subset_size']})" if "subset_size" in value else ""
        return f"{value['mean']:.5g} +- {value['std']:.2g}{more}"
    return f"{value:.5g}"
