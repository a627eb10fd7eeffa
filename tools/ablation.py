"""Compares losses and networks on real mammograms with implanted calcifications. Run by `make ablation`.

Every loss trains the same network on the same crops for the same number of steps. Every network trains with the paper's
loss for the same wall-clock minutes. A row that is finished is not run again: repeat the command to go on.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import pathlib
import sys

from data_prep.atomic import write_json, write_text
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError
from data_prep.manifest import read_manifest
from tools.ablation_report import LOSSES, NETWORKS, draw, markdown_table, write_csv
from tools.demo import ROOT, Steps, backgrounds, make_records

THRESHOLD = 0.5  # what "called positive" means

# The demo's network and recipe, but for what a row changes.
_DEMO_NETWORK = ("--model=fcn", "--widths=16,16,16,16,16", "--kernel_sizes=3")
_REPLACED = ("model", "widths", "kernel_sizes", "epochs", "steps_per_epoch", "loss", "negatives_per_positive")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        group: LOSSES or NETWORKS, which also says how the budget is counted.
        name: Names its folder.
        label: Names it in table and figure.
        flags: What it changes in the demo's recipe.
        probe_steps: Steps of the short run that measures how many fit into the minutes; many beside what an epoch takes
            to start, which is drawing crops to shuffle.
    """

    group: str
    name: str
    label: str
    flags: tuple[str, ...]
    probe_steps: int = 200


ROWS = (
    Row(LOSSES, "hard_negatives", "hard negatives 1:3 (the paper's)", (*_DEMO_NETWORK, "--loss=hard_negatives")),
    Row(LOSSES, "cross_entropy", "plain cross-entropy", (*_DEMO_NETWORK, "--loss=cross_entropy")),
    Row(LOSSES, "weighted_cross_entropy", "class-weighted", (*_DEMO_NETWORK, "--loss=weighted_cross_entropy")),
    Row(LOSSES, "focal", "focal, alpha 0.25, gamma 2", (*_DEMO_NETWORK, "--loss=focal")),
    Row(NETWORKS, "fcn_demo", "ours, the demo's 10 thousand weights", _DEMO_NETWORK),
    Row(NETWORKS, "fcn_paper", "ours, the paper's 448 thousand", ("--model=fcn",), 20),
    Row(
        NETWORKS, "unet", "U-Net at a quarter of its width, 1.9 million",
        ("--model=unet", "--widths=16,32,64,128,256", "--learning_rate=0.001"), 60,
    ),
    # Features of 16 px need larger crops, of which fewer hold as many pixels; no ImageNet weights are here.
    Row(
        NETWORKS, "deeplabv3", "DeepLabV3 from random weights, 40 million",
        (
            "--model=deeplabv3", "--learning_rate=0.0003",
            "--crop_size=256", "--global_batch_size=4", "--crops_per_image=36",
        ), 10,
    ),
    # Two numbers that calibrate; with hard negatives, the strongest answers of all, the scale goes to 0.
    Row(
        NETWORKS, "scale_space", "Laplacian of Gaussian, no learning, class-weighted",
        ("--model=scale_space", "--learning_rate=0.05", "--loss=weighted_cross_entropy"),
    ),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Budget:
    """What every row may use, and what is scored.

    Attributes:
        steps: Of each loss.
        minutes_each: Of each network's training, start-up not counted.
        epochs: Over which the steps of a row are spread; each costs some seconds to start.
        test_images: Mammograms of the test split that are scored; None takes all.
        most_probe_steps: Bounds `Row.probe_steps`.
    """

    steps: int
    minutes_each: float
    epochs: int = 10
    test_images: int | None = None
    most_probe_steps: int = 200


def main() -> None:
    """Runs the rows that are missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=pathlib.Path, default=ROOT / "build" / "ablation")
    parser.add_argument("--records_dir", type=pathlib.Path, help="records of a demo; made here where not given")
    parser.add_argument("--steps", type=int, default=1500, help="training steps of each loss")
    parser.add_argument("--minutes_each", type=float, default=10.0, help="minutes of training of each network")
    parser.add_argument("--small", action="store_true", help="20 steps, 12 s, one test mammogram: shows that it runs")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of the processes that score
    budget = Budget(options.steps, options.minutes_each)
    if options.steps < budget.epochs or not options.minutes_each > 0:
        sys.exit(f"error: --steps must be at least {budget.epochs} and --minutes_each positive")
    if options.small:
        budget = Budget(steps=20, minutes_each=0.2, epochs=2, test_images=1, most_probe_steps=4)
    out: pathlib.Path = options.output_dir.resolve()
    try:
        records = options.records_dir.resolve() if options.records_dir else prepare(out, options.small)
        results = [run_row(row, budget, records, out) for row in ROWS]
    except InputError as error:
        sys.exit(f"error: {error}")
    report(results, budget, out)


def prepare(out: pathlib.Path, small: bool) -> pathlib.Path:
    """Makes the demo's records where they are not there yet; returns their folder."""
    records = out / "records"
    if (records / "manifest.json").is_file():
        return records
    backgrounds(small, out / "backgrounds")
    make_records(Steps(), out)
    return records


def run_row(row: Row, budget: Budget, records: pathlib.Path, out: pathlib.Path) -> dict[str, object]:
    """Trains and scores a row, or reads the result of an earlier run.

    Returns:
        What its `row.json` holds; the curves are in `evaluation/` beside it.

    Raises:
        InputError: It was run with another budget, recipe or records.
    """
    folder = out / f"{row.group}-{row.name}"
    made_with = {
        "flags": list(row.flags),
        "budget": dataclasses.asdict(budget),
        "records": [shard.sha256 for shard in read_manifest(records).shard_infos],
    }
    plan_path, result_path = folder / "plan.json", folder / "row.json"
    plan = read(plan_path)
    if plan and plan["made_with"] != made_with:
        raise InputError("this row was begun with another budget, recipe or data; choose another --output_dir", folder)
    if result := read(result_path):
        return result
    recipe = write_recipe(row, folder)
    if not plan:
        plan = {"made_with": made_with, "steps_per_epoch": steps_per_epoch(row, budget, recipe, records, folder)}
        write_json(plan_path, plan)
    model_dir = folder / "model"
    train(row.label, recipe, records, model_dir, budget.epochs, plan["steps_per_epoch"])
    # A process of its own: TensorFlow would keep its memory while the next row trains.
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        scores = pool.submit(score, model_dir, records, folder / "evaluation", budget.test_images).result()
    result = {
        "group": row.group,
        "name": row.name,
        "label": row.label,
        **trained(model_dir, budget.epochs * plan["steps_per_epoch"]),
        **scores,
    }
    write_json(result_path, result)
    return result


def read(path: pathlib.Path) -> dict[str, object]:
    """Reads a JSON object; {} where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_recipe(row: Row, folder: pathlib.Path) -> pathlib.Path:
    """Writes the row's flag file: the demo's recipe with what the row changes."""
    demo = (ROOT / "configs" / "demo.cfg").read_text(encoding="utf-8").splitlines()
    replaced = {*_REPLACED, *(flag[2:].partition("=")[0] for flag in row.flags)}
    kept = [line for line in demo if line.startswith("--") and line[2:].partition("=")[0] not in replaced]
    folder.mkdir(parents=True, exist_ok=True)
    # Neither pictures nor a threshold: they cost time and change no weight.
    lines = [f"# {row.label}", *row.flags, *kept, "--images_every_epochs=0", "--operating_images=0"]
    write_text(folder / "recipe.cfg", "\n".join(lines) + "\n")
    return folder / "recipe.cfg"


def steps_per_epoch(row: Row, budget: Budget, recipe: pathlib.Path, records: pathlib.Path, folder: pathlib.Path) -> int:
    """Returns the steps of each epoch; for a network by a short run that measures its pace.

    The learning rate falls to 0 over the run, so that its length must be known before it starts.
    """
    if row.group == LOSSES:
        return budget.steps // budget.epochs
    probe_steps = min(row.probe_steps, budget.most_probe_steps)
    train(f"{row.label}: how fast is it?", recipe, records, folder / "pace", 2, probe_steps)
    seconds_a_step = training_seconds(folder / "pace", probe_steps)[-1] / probe_steps
    return max(1, round(budget.minutes_each * 60 / seconds_a_step / budget.epochs))


def train(
    title: str, recipe: pathlib.Path, records: pathlib.Path, model_dir: pathlib.Path, epochs: int, steps: int
) -> None:
    """Trains by the command, which goes on where it was stopped."""
    Steps().run(
        title, "-m", "calcseg_tf.train", f"--flagfile={recipe}", f"--records_dir={records}", f"--model_dir={model_dir}",
        f"--epochs={epochs}", f"--steps_per_epoch={steps}",
    )  # fmt: skip


def training_seconds(model_dir: pathlib.Path, steps: int) -> list[float]:
    """Returns the seconds of each epoch, from the history and the recipe."""
    history = json.loads((model_dir / "history.json").read_text(encoding="utf-8"))
    return [steps * pixels_per_step(model_dir) / entry["pixels_per_second"] for entry in history]


def pixels_per_step(model_dir: pathlib.Path) -> int:
    """Returns how many pixels a step of a model's training saw."""
    inputs = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))["training"]["inputs"]
    return inputs["global_batch_size"] * inputs["crop_size"] ** 2


def trained(model_dir: pathlib.Path, steps: int) -> dict[str, object]:
    """Returns what the training of a row came to, of so many steps in all."""
    history = json.loads((model_dir / "history.json").read_text(encoding="utf-8"))
    return {
        "steps": steps,
        "megapixels": steps * pixels_per_step(model_dir) / 1e6,
        "training_minutes": sum(training_seconds(model_dir, steps // len(history))) / 60,
    }


def score(
    model_dir: pathlib.Path, records: pathlib.Path, output_dir: pathlib.Path, most_images: int | None
) -> dict[str, object]:
    """Scores a model on the test split, keeps its curves, and returns the figures of the table."""
    from calcseg_tf.evaluation import PRIMARY, Evaluation, write_results
    from calcseg_tf.evaluation.froc import FALSE_ALARM_LIMITS
    from calcseg_tf.inference.predictor import Predictor
    from calcseg_tf.probability_map import threshold_code
    from calcseg_tf.scoring import score_split

    evaluation = Evaluation(THRESHOLD, protocols=(PRIMARY,))
    result = score_split(Predictor.load(model_dir), read_manifest(records), "test", evaluation, most_images)
    write_results(result, output_dir, {"split": "test", "model": model_dir.parent.name}, plots=False)
    positive, negative = (histogram.astype(float) for histogram in result.pixels)
    code = threshold_code(THRESHOLD)
    called = positive[code:].sum() + negative[code:].sum()
    return {
        "images": len(result.images),
        "calcifications": result.calcifications,
        "average_precision": result.average_precision.value,
        "roc_auc": result.roc_auc.value,
        "sensitivity": {f"{limit:g}": result.sensitivity_at(limit).value for limit in FALSE_ALARM_LIMITS},
        "pixels_called_positive": called / (positive.sum() + negative.sum()),
        "pixels_positive": positive.sum() / (positive.sum() + negative.sum()),
        "calcified_pixels_called_positive": positive[code:].sum() / positive.sum() if positive.sum() else None,
    }


def report(results: list[dict[str, object]], budget: Budget, out: pathlib.Path) -> None:
    """Writes table and figure, and prints the table."""
    write_csv(results, out / "ablation.csv")
    table = markdown_table(results)
    rule = (
        f"Each loss: the demo's network, {budget.steps // budget.epochs * budget.epochs:,} steps of the same crops. "
        f"Each network: {budget.minutes_each:g} minutes of training, with hard negatives where not said. "
        f"Scored on {results[0]['images']} mammograms of a patient never trained on, with "
        f"{results[0]['calcifications']:,} implanted calcifications; one run each, one seed."
    )
    write_text(out / "ablation.md", f"{table}\n{rule}\n\n{DISCLAIMER}\n")
    draw(results, out, out / "ablation.png")
    print(f"\n{table}\n{rule}\n\nTable: {out / 'ablation.csv'}\nFigure: {out / 'ablation.png'}\n{DISCLAIMER}")


if __name__ == "__main__":
    main()
