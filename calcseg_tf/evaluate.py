"""Scores a model on records: python -m calcseg_tf.evaluate --model_dir=... --records_dir=... --output_dir=..."""

import pathlib

from absl import flags

from data_prep.command import DISCLAIMER, run

_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Model directory.", required=True)
_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder that data_prep.convert wrote.", required=True)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Receives metrics.json, tables and figures.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "test"], "Which records.")
_THRESHOLD = flags.DEFINE_float("threshold", None, "Overrides the model's operating threshold, in (0, 1).")


def main() -> None:
    """Predicts and scores every mammogram of the split."""
    from calcseg_tf.evaluation import Evaluation, summary_table, write_results
    from calcseg_tf.inference.predictor import Predictor
    from calcseg_tf.scoring import score_split
    from data_prep.manifest import read_manifest

    manifest = read_manifest(_RECORDS_DIR.value)
    predictor = Predictor.load(pathlib.Path(_MODEL_DIR.value)).at_threshold(_THRESHOLD.value)
    info = predictor.info
    print(f"Scoring {manifest.images[_SPLIT.value]} {_SPLIT.value} mammograms of {manifest.data_set}")
    result = score_split(predictor, manifest, _SPLIT.value, Evaluation(info.operating_threshold))
    context = {
        "split": _SPLIT.value,
        "data_set": manifest.data_set,
        "model": str(info.model),
        "operating_threshold_rule": info.operating_threshold_rule,
    }
    output_dir = pathlib.Path(_OUTPUT_DIR.value)
    write_results(result, output_dir, context)
    print(summary_table(result))
    print(f"Results: {output_dir}\n{DISCLAIMER}")


if __name__ == "__main__":
    run(main)
