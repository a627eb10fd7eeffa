"""One artificial mammogram: the patient's traits, and how they become a picture."""

import dataclasses
import itertools

import numpy as np

from data_prep.dicom.terms import Laterality, SpacingSource, View
from data_prep.mammogram import Mammogram
from data_prep.synthesis.artifacts import add_artifacts
from data_prep.synthesis.detector import Look, Technique, develop
from data_prep.synthesis.fields import upsample
from data_prep.synthesis.hard_negative import HardNegative
from data_prep.synthesis.shape import Field, draw_shape
from data_prep.synthesis.skin import draw_skin
from data_prep.synthesis.strands import draw_strands
from data_prep.synthesis.tissue import FAT_PER_MM, GLAND_PER_MM, TissueStyle, attenuate, draw_gland

__all__ = ["VIEWS", "Patient", "SynthesisConfig", "Synthesized", "draw_patient", "synthesize_mammogram"]

# An examination: what a patient's first, second ... picture shows.
VIEWS = tuple(itertools.product((View.CC, View.MLO), (Laterality.LEFT, Laterality.RIGHT)))

_MIRRORED_SHARE = 0.1  # of pictures show the breast on the other side, as some archives do


@dataclasses.dataclass(frozen=True)
class SynthesisConfig:
    """What `synthesize_mammogram` draws.

    Attributes:
        seed: Same seed, same mammograms.
        field_height_mm: Of the picture; 233 mm are 3,328 pixels of 0.07 mm.
        field_width_mm: Of the picture; 179 mm are 2,557 pixels of 0.07 mm.
        film_share: Share of patients whose mammograms look like digitised film.
    """

    seed: int = 0
    field_height_mm: float = 233.0
    field_width_mm: float = 179.0
    film_share: float = 0.25


@dataclasses.dataclass(frozen=True)
class Patient:
    """What the pictures of one artificial patient have in common.

    Attributes:
        technique: Machine and exposure.
        tissue: Kind of tissue.
        size: 0 for small breasts to 1 for large ones.
        thickness_mm: Of the compressed breast.
        skin_mm: Thickness of the skin.
    """

    technique: Technique
    tissue: TissueStyle
    size: float
    thickness_mm: float
    skin_mm: float


@dataclasses.dataclass(frozen=True, eq=False)
class Synthesized:
    """One artificial mammogram without any calcification.

    Attributes:
        mammogram: Stored values brighter for denser, spacing, laterality and view.
        technique: Machine and exposure.
        hard_negatives: What was placed where.
    """

    mammogram: Mammogram
    technique: Technique
    hard_negatives: tuple[HardNegative, ...]


def draw_patient(config: SynthesisConfig, number: int) -> Patient:
    """Draws a patient; the same configuration and number give the same one."""
    rng = np.random.default_rng(np.random.SeedSequence((config.seed, number)))
    look = Look.FILM if rng.uniform() < config.film_share else Look.DIGITAL
    return Patient(
        technique=Technique.draw(look, rng),
        tissue=TissueStyle.draw(rng),
        size=float(rng.uniform(0.0, 1.0)),
        thickness_mm=float(rng.uniform(30.0, 70.0)),
        skin_mm=float(rng.uniform(1.2, 2.2)),
    )


def synthesize_mammogram(config: SynthesisConfig, number: int, picture: int) -> Synthesized:
    """Draws one mammogram; the same arguments give the same one, bit for bit.

    Args:
        config: What to draw.
        number: Of the patient.
        picture: Of the examination's pictures, index into `VIEWS`.
    """
    patient = draw_patient(config, number)
    technique = patient.technique
    view, laterality = VIEWS[picture]
    rng = np.random.default_rng(np.random.SeedSequence((config.seed, number, picture + 1)))
    field = Field(
        height=round(config.field_height_mm / technique.spacing_mm),
        width=round(config.field_width_mm / technique.spacing_mm),
        spacing_mm=technique.spacing_mm,
    )
    shape = draw_shape(field, view, patient.size, patient.thickness_mm, patient.skin_mm, rng)
    size = (field.height, shape.columns_px)
    logarithm = upsample(attenuate(shape, draw_gland(shape, patient.tissue, rng)), field.step, size, order=3)
    strands, placed = draw_strands(shape, rng)
    placed += draw_skin(shape, strands, rng)
    # In place of fat, and no more than the edge has room for.
    strands *= np.clip(upsample(shape.thickness_mm, field.step, size) / np.float32(15.0), 0.0, 1.0)
    logarithm += np.float32(GLAND_PER_MM - FAT_PER_MM) * strands
    del strands
    values = develop(shape, logarithm, technique, rng)
    breast = np.zeros(values.shape, bool)
    breast[:, : shape.columns_px] = upsample(shape.depth_mm, field.step, size) > 0.0
    if (laterality is Laterality.RIGHT) != (rng.uniform() < _MIRRORED_SHARE):
        values, breast = np.ascontiguousarray(values[:, ::-1]), breast[:, ::-1]
        placed = [dataclasses.replace(thing, column=field.width - 1 - thing.column) for thing in placed]
    placed += add_artifacts(values, breast, technique, laterality, view, rng)
    full_scale = (1 << technique.bits_stored) - 1
    mammogram = Mammogram(
        pixels=np.rint(values * np.float32(full_scale)).astype(np.uint16),
        bits_stored=technique.bits_stored,
        pixel_spacing_mm=(technique.spacing_mm, technique.spacing_mm),
        spacing_source=SpacingSource.SCANNED if technique.look is Look.FILM else SpacingSource.IMAGER,
        laterality=laterality,
        view=view,
    )
    inside = (thing for thing in placed if 0 <= thing.row < field.height and 0 <= thing.column < field.width)
    return Synthesized(mammogram, technique, tuple(inside))
