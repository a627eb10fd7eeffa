"""The paper's Fig. 6 a-c of one or several evaluations on common axes, and sensitivities by kinds of calcifications."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from calcseg_tf.evaluation import strata
from calcseg_tf.evaluation.bar_plots import Bars, Panel, draw_bars
from calcseg_tf.evaluation.bootstrap import LEVEL
from calcseg_tf.evaluation.evaluation_result import PRIMARY, EvaluationResult
from calcseg_tf.evaluation.line_plots import Line, Plot, draw_plot, plot_image, save_figure
from calcseg_tf.evaluation.pixel_curves import DRAWN_POINTS, Curve, Figure, thin
from calcseg_tf.evaluation.wording import counted

__all__ = ["STRATA_PLOT", "curve_image", "curve_plots", "plot_all", "strata_panels"]

STRATA_PLOT = "strata"
"""Name of the file with the bars, beside those of the curves."""

_LIMIT = 1.0  # false alarms, at which the legend of a FROC curve tells the sensitivity
# What is drawn, each on the axes of its authors; the tables hold the rest.
_FROC = ((PRIMARY, False), ("hdogreg", False), ("hdogreg", True), ("picai", False))


@dataclasses.dataclass(frozen=True)
class _PixelCurve:
    """One of the curves over all pixels.

    Attributes:
        title: Of its plot.
        x_label: Of the horizontal axis.
        y_label: Of the vertical one.
        logarithmic: Whether x is.
        steps: Whether y holds from each x to the next.
        path: Of the figure that it comes to.
        short: What the legend calls that figure.
        of: Takes the curve from a result, with the figure.
        point: Where an operating threshold lies, from true positives, false negatives, false positives and true
            negatives at it, in pixels; None where it lies nowhere.
    """

    title: str
    x_label: str
    y_label: str
    logarithmic: bool
    steps: bool
    path: str
    short: str
    of: Callable[[EvaluationResult], tuple[Curve | None, Figure]]
    point: Callable[[float, float, float, float], tuple[float, float] | None]


_PIXEL_CURVES = {
    "roc": _PixelCurve(
        title="Per-pixel ROC",
        x_label="false-positive rate",
        y_label="true-positive rate",
        logarithmic=True,
        steps=False,
        path="pixel.roc_auc",
        short="AUC",
        of=lambda result: (result.roc_curve, result.roc_auc),
        point=lambda hit, missed, false, rest: (false / (false + rest), hit / (hit + missed)),
    ),
    "precision_recall": _PixelCurve(
        title="Per-pixel precision-recall",
        x_label="recall",
        y_label="precision",
        logarithmic=False,
        steps=True,  # average precision is the area under them
        path="pixel.average_precision",
        short="AP",
        of=lambda result: (result.precision_recall_curve, result.average_precision),
        point=lambda hit, missed, false, _: (hit / (hit + missed), hit / (hit + false)) if hit + false else None,
    ),
}

_DIMENSIONS = {
    "area_px": "Area of the calcification, px",
    "diameter_mm": "Diameter of the calcification, mm",
    "view": "View of the mammogram",
    "neighbours": "Calcifications nearby (1 cm)",
}


def plot_all(results: Mapping[str, EvaluationResult], output_dir: pathlib.Path) -> None:
    """Draws every figure into a folder, each as .png and .pdf.

    They are `froc_<protocol>`, `froc_hdogreg_per_cm2` where the breasts' areas are known, `roc`, `precision_recall` and
    `STRATA_PLOT`.

    Args:
        results: Of the same images, by name of the model; the name "" is not shown.
        output_dir: Exists.
    """
    figures = {name: draw_plot(plot) for name, plot in curve_plots(results).items()}
    figures[STRATA_PLOT] = draw_bars(strata_panels(results), "sensitivity at the operating threshold")
    for name, figure in figures.items():
        png, pdf = save_figure(figure)
        (output_dir / f"{name}.png").write_bytes(png)
        (output_dir / f"{name}.pdf").write_bytes(pdf)


def curve_image(name: str, result: EvaluationResult) -> np.ndarray:
    """Draws one curve for a screen, without operating threshold and without a bootstrap.

    Args:
        name: "froc", of the paper's protocol, "roc" or "precision_recall".
        result: What was evaluated.

    Returns:
        RGB, uint8 [height, width, 3].
    """
    results = {"": result}
    plot = _froc(results, PRIMARY, False, plain=True) if name == "froc" else _pixel_plot(results, name, plain=True)
    return plot_image(dataclasses.replace(plot, title=plot.title.split(";")[0]))  # without bands


def curve_plots(results: Mapping[str, EvaluationResult]) -> dict[str, Plot]:
    """Returns every curve by the name of its file, with bands and operating thresholds."""
    measured = not any(result.area_reason for result in results.values())
    plots = {
        f"froc_{protocol}{'_per_cm2' if per_cm2 else ''}": _froc(results, protocol, per_cm2)
        for protocol, per_cm2 in _FROC
        if measured or not per_cm2
    }
    return {**plots, **{name: _pixel_plot(results, name) for name in _PIXEL_CURVES}}


def strata_panels(results: Mapping[str, EvaluationResult]) -> list[Panel]:
    """Returns the sensitivity by each dimension of `strata.DIMENSIONS`."""
    panels = []
    for dimension in strata.DIMENSIONS:
        classes = {
            name: [each for each in result.strata if each.dimension == dimension.name]
            for name, result in results.items()
        }
        bars = []
        for name, found in classes.items():
            result = results[name]
            ends = [result.intervals[each.path] for each in found]
            bars.append(
                Bars(
                    name=name,
                    values=tuple(result.figures[each.path].value for each in found),
                    low=tuple(end.low for end in ends),
                    high=tuple(end.high for end in ends),
                )
            )
        same = next(iter(classes.values()))
        panels.append(
            Panel(
                title=_DIMENSIONS[dimension.name],
                classes=tuple(each.name for each in same),
                counts=tuple(each.objects for each in same),
                bars=tuple(bars),
            )
        )
    return panels


def _froc(results: Mapping[str, EvaluationResult], protocol: str, per_cm2: bool, plain: bool = False) -> Plot:
    unit = "cm² of breast" if per_cm2 else "mammogram"
    return Plot(
        title=f"FROC, protocol {protocol}\n{_counted(results)}",
        x_label=f"false alarms per {unit}",
        y_label="sensitivity (calcifications found)",
        lines=[_froc_line(name, result, protocol, per_cm2, plain) for name, result in results.items()],
        logarithmic=True,
    )


def _froc_line(name: str, result: EvaluationResult, protocol: str, per_cm2: bool, plain: bool) -> Line:
    curve, path = result.froc[protocol], f"froc.{protocol}"
    alarms = curve.false_positives_per_cm2 if per_cm2 else curve.false_positives_per_image
    if curve.sensitivity is None or alarms is None:
        return _undefined(name, result.sensitivity_at(_LIMIT, protocol, per_cm2).reason or "no annotated object")
    # Below the lowest threshold with the most false alarms they merge, and the curve runs back: not a way to operate.
    peak = int(alarms.argmax())
    kept = thin(alarms[peak:], curve.sensitivity[peak:], DRAWN_POINTS, logarithmic=True)[::-1] + peak
    merging = thin(alarms[: peak + 1], curve.sensitivity[: peak + 1], DRAWN_POINTS, logarithmic=True)
    line = Line(
        name,
        alarms[kept],
        curve.sensitivity[kept],
        merging=(alarms[merging], curve.sensitivity[merging]) if peak else None,
    )
    if plain:
        return line
    point_path, unit = ("operating_points_per_cm2", "cm²") if per_cm2 else ("operating_points", "mammogram")
    at = result.figures[f"{path}.at_threshold.false_positives_per_{'cm2' if per_cm2 else 'image'}"].value
    sensitivity = result.figures[f"{path}.at_threshold.sensitivity"].value
    return dataclasses.replace(
        line,
        figure=_figure(result, f"{path}.{point_path}.{_LIMIT:g}.sensitivity", "", f" at {_LIMIT:g} per {unit}"),
        band=result.bands[f"{path}.per_cm2" if per_cm2 else path],
        point=None if at is None or sensitivity is None else (at, sensitivity),
    )


def _pixel_plot(results: Mapping[str, EvaluationResult], name: str, plain: bool = False) -> Plot:
    kind = _PIXEL_CURVES[name]
    return Plot(
        title=f"{kind.title}\n{_counted(results)}",
        x_label=kind.x_label,
        y_label=kind.y_label,
        lines=[_pixel_line(model, result, name, plain) for model, result in results.items()],
        logarithmic=kind.logarithmic,
        steps=kind.steps,
    )


def _pixel_line(model: str, result: EvaluationResult, name: str, plain: bool) -> Line:
    kind = _PIXEL_CURVES[name]
    curve, figure = kind.of(result)
    if curve is None:
        return _undefined(model, figure.reason)
    kept = thin(curve.x, curve.y, DRAWN_POINTS, kind.logarithmic)
    line = Line(model, curve.x[kept], curve.y[kept], f"{kind.short} {figure.value:.4f}")
    if plain:
        return line
    pixels = (float(result.counts.sums[each].sum()) for each in ("tp", "fn", "fp", "tn"))
    return dataclasses.replace(
        line, figure=_figure(result, kind.path, f"{kind.short} "), band=result.bands[name], point=kind.point(*pixels)
    )


def _undefined(name: str, reason: str) -> Line:
    return Line(name, np.zeros(0), np.zeros(0), reason=reason)


def _figure(result: EvaluationResult, path: str, before: str, after: str = "") -> str:
    figure, interval = result.figures[path], result.intervals[path]
    if figure.value is None:
        return f"{before}n/a{after}"
    between = "" if interval.low is None else f" [{interval.low:.3f}, {interval.high:.3f}]"
    return f"{before}{figure.value:.3f}{after}{between}"


def _counted(results: Mapping[str, EvaluationResult]) -> str:
    result = next(iter(results.values()))
    counts = f"{counted(len(result.images), 'image')}, {counted(result.calcifications, 'calcification')}"
    if len(result.patients) < 2:  # who cannot be resampled
        return counts
    return f"{counts}; {LEVEL:.0%} over {counted(len(result.patients), 'patient')}"
