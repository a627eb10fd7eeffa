"""The table, the chart and the JSON file."""

import dataclasses
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Any

from benchmarks.inference.chart import draw_chart
from benchmarks.inference.figures import BREAST, FLOAT32, MAMMOGRAM, OURS, Context, ScalePoint
from benchmarks.inference.measuring import Measured
from data_prep.atomic import temporary_beside, write_json, write_text
from data_prep.command import DISCLAIMER

__all__ = ["machine", "write_report"]


def machine(cores: int) -> dict[str, Any]:
    """Returns the processor, cores, memory, load before the first turn, and whether it multiplies in bfloat16."""
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(info))}
    flags = set(fields.get("flags", "").split())
    return {
        "processor": fields.get("model name", platform.processor()),
        "cores": cores,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "instructions": sorted(flags & {"avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16"}),
        "python": platform.python_version(),
    }


def write_report(folder: pathlib.Path, context: Context, rows: Sequence[Measured], scale: Sequence[ScalePoint]) -> str:
    """Writes `inference.md`, `inference.png` and `inference.json`; returns the markdown."""
    text = "\n\n".join(
        part for part in (_head(context), _table(context, rows), _notes(context, rows), _scaling(rows, scale)) if part
    )
    write_text(folder / "inference.md", text + "\n")
    write_json(
        folder / "inference.json",
        {
            **dataclasses.asdict(context),
            "peers": [{**dataclasses.asdict(row), "peak_bytes": row.peak_bytes if row.answers else None}
                      for row in rows],
            "scaling": [dataclasses.asdict(point) for point in scale],
            "disclaimer": DISCLAIMER,
        },
    )  # fmt: skip
    with temporary_beside(folder / "inference.png") as temporary:
        temporary.write_bytes(draw_chart(context, rows, scale))
    return text


def _head(context: Context) -> str:
    about = context.machine
    sizes = ", ".join(f"{name} {megapixels:.2f}" for name, megapixels in context.megapixels.items())
    return (
        f"Megapixels: {sizes}; of tissue {context.tissue_megapixels:.2f}. {about['processor']}, {about['cores']} cores "
        f"({', '.join(about['instructions'])}), {about['memory_gb']:g} GB; load before: {about['load_before']:.2f}. "
        f"Medians of {context.turns} turns, each in a new process, warm-up and start excluded, from array to array.\n\n"
        f"{DISCLAIMER}"
    )


def _table(context: Context, rows: Sequence[Measured]) -> str:
    ours = next((row for row in rows if row.peer.key == OURS), None)
    exact = next((row.agreement.exact_components for row in rows if row.agreement and not row.peer.as_demo), "?")
    columns = [
        "peer", "precision", "windows", f"{MAMMOGRAM}, s", "times ours", "least CPU s a core", f"{BREAST}, s",
        "times ours, whole", "peak memory", "largest difference from float64",
        f"components at p >= {context.threshold:g} (float64: {exact})", "pixels across the threshold",
    ]  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in rows:
        if not row.answers:
            lines.append(f"| {row.peer.name} | did not finish: {row.failure} |" + " |" * (len(columns) - 2))
            continue
        agreement = row.agreement
        broke = f" ({len(row.answers[MAMMOGRAM])} of {context.turns} turns: {row.failure})" if row.failure else ""
        demo = f" (its own input; float64: {agreement.exact_components})" if agreement and row.peer.as_demo else ""
        lines.append(
            f"| {row.peer.name}{broke} | {row.about['precision']} | {_window(row)} "
            f"| {_number(row.seconds(MAMMOGRAM), 2)} "
            f"| {_number(row.times(ours, MAMMOGRAM) if ours else None, 2)} "
            f"| {_number(row.cpu_seconds(MAMMOGRAM, context.machine['cores']), 2)} | {_number(row.seconds(BREAST), 2)} "
            f"| {_number(row.times(ours, BREAST) if ours else None, 2)} | {row.peak_bytes / 1e9:.2f} GB "
            + (f"| {agreement.largest_difference:.1e} | {agreement.components}{demo} | {agreement.other_pixels} |"
               if agreement else "| | | |")
        )  # fmt: skip
    return "\n".join(lines)


def _notes(context: Context, rows: Sequence[Measured]) -> str:
    ours = next((row for row in rows if row.peer.key == OURS and row.answers), None)
    lines = []
    others = [row for row in rows if row.answers and row.peer.key not in (OURS, "saved_model")]
    rivals = [row for row in others if row.about["precision"] == FLOAT32 and not row.peer.as_demo and not row.failure]
    if ours and rivals:
        for image in (MAMMOGRAM, BREAST):
            best = min(rivals, key=lambda row: row.seconds(image) or float("inf"))
            lines.append(
                f"- Best float32 peer, {image}: {best.peer.name}, {_number(best.seconds(image), 2)} s, "
                f"{_number(best.times(ours, image), 2)} times ours on the whole mammogram."
            )
    if ours and (demo := next((row for row in others if row.peer.as_demo), None)):
        lines.append(
            f"- The authors' demo: {_number(demo.times(ours, MAMMOGRAM), 2)} times ours. It computes its own input of "
            f"{context.megapixels['the demo']:.2f} megapixels - 8 bits, mirrored to the left, cut behind the breast - "
            "in one pass where it fits; making that input is not timed."
        )
    lines += [
        f"- {row.peer.name}: computes in {row.about['precision']} here."
        for row in others
        if row.about["precision"] != FLOAT32
    ]
    lines.append(
        f'- "{BREAST}": the smallest box around the breast with two halos, as an engineer might cut it out to spare a '
        "runtime the air; finding it is not timed. Peers compute the air of what they get; ours does as it does."
    )
    versions = {name: value for row in rows for name, value in row.about.items() if name != "precision"}
    lines.append("- " + ", ".join(f"{name} {value}" for name, value in versions.items()) + ".")
    return "\n".join(lines)


def _scaling(rows: Sequence[Measured], scale: Sequence[ScalePoint]) -> str:
    if not scale:
        return ""
    keys = [row for row in rows if any(row.peer.key in point.seconds for point in scale)]
    lines = [
        "Seconds a megapixel of the image:\n",
        "| image | megapixels | of tissue | " + " | ".join(row.peer.name for row in keys)
        + " | ours, s a megapixel of tissue |",
        "|" + "---|" * (len(keys) + 4),
    ]  # fmt: skip
    for point in scale:
        each = " | ".join(_number(point.per_megapixel(row.peer.key), 2) for row in keys)
        own = point.seconds.get(OURS)
        lines.append(
            f"| {point.kind} | {point.megapixels:.2f} | {point.tissue_megapixels:.2f} | {each} "
            f"| {_number(own / point.tissue_megapixels if own else None, 2)} |"
        )
    for kind in dict.fromkeys(point.kind for point in scale):
        costs = [point.seconds[OURS] / point.tissue_megapixels for point in scale
                 if point.kind == kind and OURS in point.seconds]  # fmt: skip
        if costs:
            lines.append(f"\n{kind}: dearest and cheapest megapixel of tissue of ours differ by "
                         f"{100 * (max(costs) / min(costs) - 1):.0f} %.")  # fmt: skip
    return "\n".join(lines)


def _window(row: Measured) -> str:
    if row.window:
        return f"{row.window} px"
    return "one pass" if row.peer.as_demo else "its own"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
