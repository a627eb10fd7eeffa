"""Table and figure of `tools.ablation`."""

import csv
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from data_prep.command import DISCLAIMER

LOSSES, NETWORKS = "losses", "networks"

_COLUMNS = (
    ("average precision", lambda row: figure(row["average_precision"], 3)),
    ("ROC AUC", lambda row: figure(row["roc_auc"], 4)),
    ("found at 2 / 5 / 10 / 20 false alarms", lambda row: " / ".join(figure(row["sensitivity"][at]) for at in _LIMITS)),
    ("pixels called positive", lambda row: per_million(row["pixels_called_positive"])),
    ("of the calcified", lambda row: figure(row["calcified_pixels_called_positive"])),
    ("steps", lambda row: f"{row['steps']:,}"),
    ("megapixels", lambda row: f"{row['megapixels']:.0f}"),
    ("minutes", lambda row: f"{row['training_minutes']:.1f}"),
)
_LIMITS = ("2", "5", "10", "20")


def figure(value: float | None, digits: int = 2) -> str:
    """Formats a figure, "-" where it is undefined."""
    return "-" if value is None else f"{value:.{digits}f}"


def per_million(share: float) -> str:
    """Formats a small share."""
    return f"{share * 1e6:,.0f} per million"


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns one table of both groups; the share of calcified pixels is below it."""
    lines = ["| | " + " | ".join(name for name, _ in _COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for group in (LOSSES, NETWORKS):
        lines.append(f"| **{group}** |" + " |" * len(_COLUMNS))
        lines += [
            f"| {row['label']} | " + " | ".join(render(row) for _, render in _COLUMNS) + " |"
            for row in rows
            if row["group"] == group
        ]
    truth = per_million(rows[0]["pixels_positive"])
    return "\n".join(lines) + f"\n\nA pixel is called positive from a probability of 0.5; {truth} are calcified.\n"


def write_csv(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Writes every figure of every row in full; an empty cell is undefined."""
    flat = [
        {name: value for name, value in row.items() if name != "sensitivity"}
        | {f"sensitivity_at_{limit}": value for limit, value in row["sensitivity"].items()}
        for row in rows
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(flat[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)


def draw(rows: Sequence[dict[str, Any]], out: pathlib.Path, path: pathlib.Path) -> None:
    """Draws FROC and precision-recall of all rows, losses above networks, on common axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    page = Figure(figsize=(11, 8.6), layout="constrained")
    FigureCanvasAgg(page)
    axes = page.subplots(2, 2, sharex="col", sharey="col")
    for line, group in zip(axes, (LOSSES, NETWORKS), strict=True):
        for row in rows:
            if row["group"] == group:
                folder = out / f"{row['group']}-{row['name']}" / "evaluation"
                alarms, found = froc_points(folder / "froc_zamir.csv")
                line[0].plot(alarms, found, label=row["label"], linewidth=1.6)
                recall, precision = columns(folder / "precision_recall.csv", "recall", "precision")
                line[1].step(recall, precision, where="post", label=row["label"], linewidth=1.6)
        line[0].set(title=f"{group}: FROC", ylabel="sensitivity (calcifications found)", xscale="log")
        line[1].set(title=f"{group}: precision-recall of pixels", ylabel="precision")
        line[0].legend(fontsize=8, frameon=False)
        for panel in line:
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_ylim(-0.02, 1.02)
    axes[1, 0].set(xlabel="false alarms per mammogram", xlim=(0.1, 1000))
    axes[1, 1].set(xlabel="recall", xlim=(-0.02, 1.02))
    page.supxlabel(DISCLAIMER, fontsize=8, color="0.4")
    page.savefig(path, dpi=130)


def froc_points(path: pathlib.Path) -> tuple[list[float], list[float]]:
    """Returns the FROC from its highest threshold down to where predictions begin to merge."""
    alarms, found = columns(path, "false_positives_per_image", "sensitivity")
    peak = max(range(len(alarms)), key=lambda step: (alarms[step], step)) if alarms else 0
    return alarms[peak:], found[peak:]


def columns(path: pathlib.Path, *names: str) -> tuple[list[float], ...]:
    """Reads columns of a table, without the rows in which one of them is undefined."""
    with path.open(newline="", encoding="utf-8") as file:
        rows: Iterable[dict[str, str]] = [row for row in csv.DictReader(file) if all(row[name] for name in names)]
    return tuple([float(row[name]) for row in rows] for name in names)
