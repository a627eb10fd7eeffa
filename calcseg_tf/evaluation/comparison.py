"""Several models on the same mammograms: the paper's Fig. 6d, sensitivities, and what differs by more than chance."""

import dataclasses
import io
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from calcseg_tf.evaluation.bootstrap import LEVEL, few_patients
from calcseg_tf.evaluation.definitions import definition_of, definitions
from calcseg_tf.evaluation.evaluation_result import PRIMARY, EvaluationResult
from calcseg_tf.evaluation.froc import FALSE_ALARM_LIMITS
from calcseg_tf.evaluation.maps import Maps
from calcseg_tf.evaluation.paired import PairedDifference, paired_differences
from calcseg_tf.evaluation.uncertainty import LIMITS_PER_CM2
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError
from data_prep.tables import write_table

__all__ = [
    "AUC",
    "AVERAGE_PRECISION",
    "PIXEL_HEADER",
    "Difference",
    "Scored",
    "aligned",
    "build_comparison",
    "compare",
    "comparison_csv",
    "comparison_tables",
    "difference_text",
    "errors_by_image",
    "headline_paths",
    "p_text",
    "pixel_rows",
    "protocol_paths",
    "undefined",
    "unique_names",
    "with_interval",
]

AUC, AVERAGE_PRECISION = "pixel.roc_auc", "pixel.average_precision"

PIXEL_HEADER = ("data set", "model", f"pixel ROC AUC [{LEVEL:.0%}]", "pixel average precision", "operating threshold")
"""Of `pixel_rows`."""

_HEADLINE_PROTOCOLS = (PRIMARY, "hdogreg", "picai")  # the others are parts of hdogreg

_DIFFERENCE = (
    "The first model's figure less the second's, each at its own operating threshold; interval and p over resamples of "
    "the patients, the same for both. p is two-sided and of each figure alone: of twenty that do not differ, one falls "
    "below 0.05."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """One model on the mammograms.

    Attributes:
        name: Unique, and the name of its folder.
        result: What it scores.
        threshold_rule: How its operating threshold was chosen, one sentence.
        maps: Its probability maps, for pictures; they may go once these are drawn.
        provenance: What it is and where it comes from, ready for JSON.
    """

    name: str
    result: EvaluationResult
    threshold_rule: str
    maps: Maps
    provenance: Mapping[str, object]


@dataclasses.dataclass(frozen=True, eq=False)
class Difference:
    """Two models compared.

    Attributes:
        first: Name of the one whose figures stand first.
        second: Name of the one whose figures are taken off.
        figures: By path in metrics.json.
    """

    first: str
    second: str
    figures: Mapping[str, PairedDifference]


def unique_names(paths: Sequence[pathlib.Path]) -> list[str]:
    """Names folders by the end of their paths, as much of it as tells them apart: "ours" or "ours-model".

    Raises:
        InputError: A folder is given twice.
    """
    resolved = [path.resolve() for path in paths]
    if twice := sorted({str(path) for path in resolved if resolved.count(path) > 1}):
        raise InputError("a model is compared with others, not with itself; found it twice", twice[0])
    names: list[str] = []
    for depth in range(1, max((len(path.parts) for path in resolved), default=0) + 1):
        names = ["-".join(path.parts[1:][-depth:]) for path in resolved]
        if len(set(names)) == len(names):
            break
    return names


def compare(scored: Sequence[Scored]) -> list[Difference]:
    """Compares every two models, in the order in which they are given."""
    return [
        Difference(one.name, two.name, paired_differences(one.result, two.result))
        for one, two in itertools.combinations(scored, 2)
    ]


def build_comparison(
    scored: Sequence[Scored], differences: Sequence[Difference], context: Mapping[str, object]
) -> dict[str, object]:
    """Builds the contents of comparison.json; arguments as `compare` gave and took them, and what was evaluated."""
    result = scored[0].result
    sentences = definitions(result.threshold_figures, result.protocols, result.connectivity)
    paths = [path for path in result.figures if all(path in each.result.figures for each in scored)]
    return {
        "images": len(result.images),
        "patients": len(result.patients),
        "calcifications": result.calcifications,
        "models": {
            each.name: {
                "operating_threshold": each.result.threshold,
                "operating_threshold_rule": each.threshold_rule,
                "figures": {path: _figure(each.result, path) for path in paths},
            }
            for each in scored
        },
        "differences": [
            {
                "first": each.first,
                "second": each.second,
                "figures": {path: dataclasses.asdict(each.figures[path]) for path in paths if path in each.figures},
            }
            for each in differences
        ],
        "definitions": {"difference": _DIFFERENCE, **{path: definition_of(path, sentences) or "" for path in paths}},
        "bootstrap": {
            "unit": "patient", "samples": result.bootstrap_samples, "seed": result.seed, "level": LEVEL,
            "caution": few_patients(len(result.patients)),
        },
        "context": dict(context),
        "disclaimer": DISCLAIMER,
    }  # fmt: skip


def comparison_csv(scored: Sequence[Scored], differences: Sequence[Difference]) -> str:
    """Returns comparison.csv: one row a model and figure, then one a pair and figure (`compared_with` the second)."""
    text = io.StringIO()
    header = ("figure", "model", "compared_with", "value", "low", "high", "p", "samples", "reason")
    rows: list[tuple[object, ...]] = []
    for each in scored:
        for path, figure in each.result.figures.items():
            interval = each.result.intervals[path]
            rows.append((path, each.name, None, figure.value, interval.low, interval.high, None, interval.samples,
                         figure.reason or interval.reason))  # fmt: skip
    for pair in differences:
        for path, each_difference in pair.figures.items():
            found = each_difference
            rows.append((path, pair.first, pair.second, found.difference, found.low, found.high, found.p,
                         found.samples, found.reason))  # fmt: skip
    write_table(text, header, rows)
    return text.getvalue()


def comparison_tables(data_set: str, scored: Sequence[Scored], differences: Sequence[Difference]) -> str:
    """Returns what is printed: Fig. 6d, the sensitivities under every protocol, and the differences."""
    sensitivities = [
        (label, *(with_interval(each.result, path) for each in scored))
        for label, path in headline_paths(scored[0].result)
    ]
    blocks = [
        aligned([PIXEL_HEADER, *pixel_rows(data_set, scored)]),
        aligned([("sensitivity at false alarms, by protocol", *(each.name for each in scored)), *sensitivities]),
    ]
    for pair in differences:
        labelled = [("pixel ROC AUC", AUC), ("pixel average precision", AVERAGE_PRECISION)]
        labelled += headline_paths(scored[0].result)
        rows = [(label, difference_text(pair.figures[path]), p_text(pair.figures[path])) for label, path in labelled]
        blocks.append(aligned([(f"{pair.first} less {pair.second}", f"[{LEVEL:.0%}]", "p"), *rows]))
    reasons = undefined(scored, (AUC, AVERAGE_PRECISION, *(path for _, path in headline_paths(scored[0].result))))
    rules = [f"{each.name}: threshold {each.result.threshold:.4f}, {each.threshold_rule}" for each in scored]
    few = few_patients(len(scored[0].result.patients))
    blocks += ["\n".join(lines) for lines in (reasons, rules, [f"caution: {few}"] if few else []) if lines]
    return "\n\n".join(blocks)


def pixel_rows(data_set: str, scored: Sequence[Scored]) -> list[tuple[str, ...]]:
    """Returns the paper's Fig. 6d as text, a row a model under `PIXEL_HEADER`."""
    return [
        (
            data_set,
            each.name,
            with_interval(each.result, AUC),
            with_interval(each.result, AVERAGE_PRECISION),
            f"{each.result.threshold:.4f}",
        )
        for each in scored
    ]


def errors_by_image(result: EvaluationResult) -> dict[str, int]:
    """Returns missed calcifications and false alarms at the operating threshold (paper's protocol), by image id."""
    return {
        image.case.image_id: at.objects - at.detected + at.false_positives
        for image in result.images
        for at in [image.protocols[PRIMARY]]
    }


def protocol_paths(result: EvaluationResult) -> list[tuple[str, str]]:
    """Returns label and path of every sensitivity at a limit on false alarms, protocol by protocol."""
    per_image = [(protocol, limit, False) for protocol in result.protocols for limit in FALSE_ALARM_LIMITS]
    per_cm2 = [(protocol, limit, True) for protocol in result.protocols for limit in LIMITS_PER_CM2]
    points = per_image if result.area_reason else [*per_image, *per_cm2]
    order = {protocol: place for place, protocol in enumerate(result.protocols)}
    return [_point(*point) for point in sorted(points, key=lambda point: order[point[0]])]


def headline_paths(result: EvaluationResult) -> list[tuple[str, str]]:
    """Returns those on each protocol's own axis: HDoGReg's is per cm2, where that is known, others' per mammogram."""
    paths = []
    for protocol in _HEADLINE_PROTOCOLS:
        per_cm2 = protocol == "hdogreg" and not result.area_reason
        paths += [_point(protocol, limit, per_cm2) for limit in (LIMITS_PER_CM2 if per_cm2 else FALSE_ALARM_LIMITS)]
    return paths


def undefined(scored: Sequence[Scored], paths: Iterable[str]) -> list[str]:
    """Returns why figures are undefined, each reason once, with the models for which it holds."""
    models: dict[str, list[str]] = {}
    for path in paths:
        for each in scored:
            reason = each.result.figures[path].reason
            if reason and each.name not in models.setdefault(reason, []):
                models[reason].append(each.name)
    return [f"{', '.join(names)}: n/a, {reason}" for reason, names in models.items()]


def with_interval(result: EvaluationResult, path: str) -> str:
    """Returns a figure and its interval as text: "0.9124 [0.8803, 0.9412]", or "n/a"."""
    figure, interval = result.figures[path], result.intervals[path]
    return _told(figure.value, interval.low, interval.high, "")


def difference_text(difference: PairedDifference) -> str:
    """Returns a difference and its interval as text, with signs."""
    return _told(difference.difference, difference.low, difference.high, "+")


def p_text(difference: PairedDifference) -> str:
    """Returns p as text."""
    return "n/a" if difference.p is None else f"{difference.p:.3f}"


def _point(protocol: str, limit: float, per_cm2: bool) -> tuple[str, str]:
    path, unit = ("operating_points_per_cm2", "cm²") if per_cm2 else ("operating_points", "mammogram")
    return f"{protocol}: {limit:g} / {unit}", f"froc.{protocol}.{path}.{limit:g}.sensitivity"


def _figure(result: EvaluationResult, path: str) -> dict[str, object]:
    figure, interval = result.figures[path], result.intervals[path]
    return {
        "value": figure.value,
        "low": interval.low,
        "high": interval.high,
        "samples": interval.samples,
        "reason": figure.reason or interval.reason,
    }


def _told(value: float | None, low: float | None, high: float | None, sign: str) -> str:
    def number(it: float) -> str:
        return f"{it:{sign}.4f}" if abs(it) < 10 else f"{it:{sign},.1f}"

    if value is None:
        return "n/a"
    return number(value) + ("" if low is None or high is None else f" [{number(low)}, {number(high)}]")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lays out rows of cells in columns; several lines without a final line break."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
