"""Every target by its name."""

from collections.abc import Mapping

from tests.fuzz.data_set_targets import DATA_SET_TARGETS
from tests.fuzz.image_targets import IMAGE_TARGETS
from tests.fuzz.record_targets import RECORD_TARGETS
from tests.fuzz.target import Target

__all__ = ["TARGETS"]

TARGETS: Mapping[str, Target] = {target.name: target for target in (*DATA_SET_TARGETS, *IMAGE_TARGETS, *RECORD_TARGETS)}
