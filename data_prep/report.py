"""What `data_prep.convert` and `data_prep.verify` tell the person who runs them."""

import re
from collections.abc import Sequence

from data_prep.beam import LOCAL_RUNNER
from data_prep.command import DISCLAIMER
from data_prep.conversion.pipeline import Conversion, Plan
from data_prep.manifest import ImageWarning
from data_prep.schema import SPLITS
from data_prep.verification import Verification

__all__ = ["conversion_lines", "plan_lines", "verification_line"]

_FILES_SHOWN = 3  # of each kind of warning; the manifest holds all


def plan_lines(plan: Plan) -> list[str]:
    """Returns what a conversion will do."""
    config = plan.config
    sides = ", ".join(f"{len(plan.sides[split])} {split}" for split in SPLITS)
    patients = len(set(plan.patients.values()) - {""})
    engine = f"workers: {config.workers}" if config.runner == LOCAL_RUNNER else f"by Apache Beam's {config.runner}"
    return [
        f"Converting data set {config.data_set.name} in {config.data_dir} to {config.output_dir}",
        f"{len(plan.patients)} mammograms of {patients or 'unknown'} patients, {len(plan.rejected)} files rejected",
        f"{sides}, split by {config.split_by.value} with seed {config.seed}; {engine}",
        *(["Names of images and patients are kept as they are (--public_ids)."] if config.public_ids else []),
        *([] if config.public_ids else [f"Names leave as hashes; the salt {config.salt_path} stays with you."]),
    ]


def conversion_lines(conversion: Conversion) -> list[str]:
    """Returns what became of a conversion: counts, rejected files with reasons, where the records are."""
    manifest = conversion.manifest
    lines = [f"{'split':<8}{'images':>8}{'patients':>10}{'calcifications':>16}"]
    for split in SPLITS:
        counts = manifest.images[split], manifest.patients[split], manifest.calcifications[split]
        lines.append(f"{split:<8}{counts[0]:>8}{counts[1]:>10}{counts[2]:>16}")
    if conversion.kept:
        lines.append(f"{conversion.kept} of {len(manifest.shard_infos)} shards were there from an interrupted run")
    if conversion.rejected:
        lines.append(f"{len(conversion.rejected)} rejected:")
        lines.extend(f"  {bad.file}: {bad.reason}" for bad in conversion.rejected)
    lines.extend(_warning_lines(conversion.warnings))
    return [*lines, f"Records and manifest.json: {manifest.directory}", DISCLAIMER]


def _warning_lines(warnings: Sequence[ImageWarning]) -> list[str]:
    """Returns the warnings by kind, which is their text but for its numbers, the commonest first, with a few files."""
    kinds: dict[str, list[ImageWarning]] = {}
    for warning in warnings:
        kinds.setdefault(re.sub(r"\d+", "", warning.warning), []).append(warning)
    lines = [f"{len({warning.image for warning in warnings})} images with warnings:"] if warnings else []
    for found in sorted(kinds.values(), key=lambda found: (-len(found), found[0].warning)):
        files = ", ".join(warning.image for warning in found[:_FILES_SHOWN])
        more = ", ..." if len(found) > _FILES_SHOWN else ""
        lines.append(f"  {len(found)} x {found[0].warning} ({files}{more})")
    return lines


def verification_line(verification: Verification) -> str:
    """Returns that all is well, with what was looked at."""
    manifest = verification.manifest
    sides = "; ".join(
        f"{split} {manifest.images[split]} images, {manifest.patients[split]} patients, "
        f"{manifest.calcifications[split]} calcifications"
        for split in SPLITS
    )
    size = sum(shard.bytes for shard in manifest.shard_infos)
    return f"All good: {len(manifest.shard_infos)} shards, {size} bytes as written; {sides}. {DISCLAIMER}"
