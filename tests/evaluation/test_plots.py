import io

import numpy as np
import pytest
from PIL import Image

from calcseg_tf.evaluation import Evaluation, bootstrap
from calcseg_tf.evaluation.bar_plots import Bars, Panel, draw_bars
from calcseg_tf.evaluation.bootstrap import Band
from calcseg_tf.evaluation.line_plots import PALETTE, Line, Plot, draw_plot, plot_image, save_figure
from calcseg_tf.evaluation.plots import curve_image, curve_plots, strata_panels
from tests.fakes.evaluations import drawn_map, score_maps
from tests.fakes.mammograms import speckled_record

HOSTILE = ("$\\frac{", "<b>&amp;", "a\nb\0", "x" * 300, "\udc80", "ö 钙化")


def plot(*lines, logarithmic=True):
    return Plot("title", "x", "y", lines, logarithmic)


def line(name="model", x=(0.0, 0.5, 2.0), y=(0.2, 0.5, 0.9), **more):
    return Line(name, np.array(x), np.array(y), **more)


def drawn_lines(figure):
    return [each for each in figure.axes[0].lines if len(each.get_xdata()) > 1]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    records = [speckled_record(number, 64) for number in range(4)]
    return [
        score_maps(name, records, [drawn_map(record, blur, 0.2, 7) for record in records], folder / name)
        for name, blur in (("smeared", 3.0), ("sharp", 0.7))
    ]


@pytest.fixture(scope="module")
def results(scored):
    return {each.name: each.result for each in scored}


def test_zeros_are_drawn_at_half_the_smallest_positive_x_of_all_lines():
    figure = draw_plot(plot(line(), line(x=(0.0, 0.02, 1.0))))
    first, second = drawn_lines(figure)
    assert first.get_xdata().tolist() == [0.01, 0.5, 2.0]
    assert second.get_xdata().tolist() == [0.01, 0.02, 1.0]
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_xlabel() == "x (0 drawn at the left end)"
    assert draw_plot(plot(line(x=(0.0, 0.0, 0.0)))).axes[0].lines[0].get_xdata().tolist() == [1.0] * 3
    assert draw_plot(plot(line(x=(1.0, 2.0, 3.0)))).axes[0].get_xlabel() == "x"


def test_every_model_has_a_colour_a_dash_and_a_marker_of_its_own():
    point = (1.0, 0.5)
    figure = draw_plot(plot(*(line(f"model {number}", point=point) for number in range(4))))
    curves, markers = drawn_lines(figure), [each for each in figure.axes[0].lines if len(each.get_xdata()) == 1]
    assert [curve.get_color() for curve in curves] == list(PALETTE[:4])
    assert len({curve.get_linestyle() for curve in curves}) == 4
    assert len({marker.get_marker() for marker in markers}) == 4
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [f"model {n}" for n in range(4)]


def test_one_model_alone_needs_no_name():
    figure = draw_plot(plot(line("", figure="AUC 0.9")))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["AUC 0.9"]
    assert draw_plot(plot(line(""))).axes[0].get_legend() is None
    undefined = Line("", np.zeros(0), np.zeros(0), reason="no calcification in the images")
    assert draw_plot(plot(undefined)).axes[0].texts[0].get_text() == "undefined, no calcification in the images"


def test_a_band_is_drawn_where_there_is_one():
    x = np.array([0.1, 1.0, 2.0])
    band = Band(x, x, np.array([0.1, np.nan, 0.3]), np.array([0.2, np.nan, 0.4]))
    none = Band(x, x, x, x, "one patient alone cannot be resampled")
    assert len(draw_plot(plot(line(band=band), line(band=none), line())).axes[0].collections) == 1


def test_what_is_undefined_says_why_beside_what_is_drawn():
    undefined = Line("two", np.zeros(0), np.zeros(0), reason="no calcification in the images")
    figure = draw_plot(plot(line("one"), undefined))
    assert len(drawn_lines(figure)) == 1
    assert [text.get_text() for text in figure.axes[0].texts] == ["two: undefined, no calcification in the images"]
    assert draw_plot(plot(undefined)).axes[0].get_legend() is None


def test_names_are_text_and_equal_plots_equal_bytes(recwarn):
    def drawn():
        merging = (np.array([2.0, 1.0]), np.array([0.9, 1.0]))
        lines = [line(name, merging=merging, point=(0.0, 0.5), figure=name) for name in HOSTILE]
        return plot(*lines, *(Line(name, np.zeros(0), np.zeros(0), reason=name) for name in HOSTILE))

    one, two = (save_figure(draw_plot(drawn())) for _ in range(2))
    assert one == two
    assert Image.open(io.BytesIO(one[0])).size == (1120, 920)
    assert one[1].startswith(b"%PDF")
    assert list(recwarn) == []  # letters that the font lacks are drawn as boxes, quietly


def test_every_protocol_has_its_curve_with_band_and_operating_point(results):
    plots = curve_plots(results)
    assert list(plots) == [
        "froc_zamir", "froc_hdogreg", "froc_hdogreg_per_cm2", "froc_picai", "roc", "precision_recall",
    ]  # fmt: skip
    for name, each in plots.items():
        assert [line.name for line in each.lines] == ["smeared", "sharp"]
        for one in each.lines:
            assert one.band is not None
            assert one.point is not None
            assert np.isfinite(one.x).all()
            assert np.isfinite(one.y).all()
            assert len(one.x) <= 2000, name


def test_the_froc_curve_runs_from_the_highest_threshold_to_where_false_alarms_merge(results):
    [line, _] = curve_plots(results)["froc_zamir"].lines
    curve = results["smeared"].froc["zamir"]
    alarms = curve.false_positives_per_image
    assert (line.x[0], line.y[0]) == (alarms[-1], curve.sensitivity[-1])
    assert line.x[-1] == alarms.max()
    x, _ = line.merging
    assert (x[0], x[-1]) == (alarms[0], alarms.max())
    result = results["smeared"]
    at = result.figures["at_threshold.false_positives_per_image"].value
    assert line.point == (at, result.figures["at_threshold.sensitivity"].value)
    step = result.code - round(curve.thresholds[0] * 65535)
    assert at == alarms[step]


def test_a_plateau_of_false_alarms_is_no_merging(results):
    """Candidates of picai never merge as the threshold falls: its curve is drawn whole."""
    for line, result in zip(curve_plots(results)["froc_picai"].lines, results.values(), strict=True):
        assert line.merging is None
        assert (line.x[-1], line.y[-1]) == (
            result.froc["picai"].false_positives_per_image[0], result.froc["picai"].sensitivity[0]
        )  # fmt: skip


def test_the_points_of_the_pixel_curves_are_counted_at_the_operating_threshold(results):
    plots = curve_plots(results)
    for roc, precision_recall in zip(plots["roc"].lines, plots["precision_recall"].lines, strict=True):
        positive, negative = results[roc.name].pixels
        code = results[roc.name].code
        hit, alarms = positive[code:].sum(), negative[code:].sum()
        assert roc.point == pytest.approx((alarms / negative.sum(), hit / positive.sum()))
        assert precision_recall.point == pytest.approx((hit / positive.sum(), hit / (hit + alarms)))


def test_the_bars_are_the_strata_with_their_counts(results):
    panels = strata_panels(results)
    assert [panel.title.split(",")[0] for panel in panels] == [
        "Area of the calcification", "Diameter of the calcification", "View of the mammogram",
        "Calcifications nearby (1 cm)",
    ]  # fmt: skip
    total = results["sharp"].calcifications
    assert [sum(panel.counts) for panel in panels] == [total] * 4
    for panel in panels:
        assert [bars.name for bars in panel.bars] == ["smeared", "sharp"]
        for bars in panel.bars:
            assert [value is None for value in bars.values] == [count == 0 for count in panel.counts]
    assert panels[2].classes == ("CC",)


def test_bars_without_value_or_interval_are_drawn_too():
    bars = [Bars(name, (None, 0.5, 1.0), (None, None, 0.2), (None, None, 0.9)) for name in HOSTILE]
    panel = Panel("title", (HOSTILE[0], "2 to 4", "0.25 to below 0.5"), (0, 3, 12345), tuple(bars))
    figure = draw_bars([panel] * 3, "y")
    assert sum(bool(axes.patches) for axes in figure.axes) == 3
    # The interval [0.2, 0.9] does not hold its figure, 1: its upper arm has no length.
    assert figure.axes[0].get_ylim() == (0.0, 1.02)
    assert figure.axes[0].get_xticklabels()[2].get_text() == "0.25 to\nbelow 0.5\n(12,345)"
    save_figure(figure)


@pytest.mark.parametrize("name", ["froc", "roc", "precision_recall"])
def test_a_curve_for_a_screen_needs_no_bootstrap(name, monkeypatch):
    def refuse(*_):
        raise AssertionError("resampled")

    monkeypatch.setattr(bootstrap, "patient_weights", refuse)
    record = speckled_record(9, 48)
    evaluation = Evaluation()
    evaluation.add(drawn_map(record, 1.0, 0.1), record.mask, "i", "p")
    image = curve_image(name, evaluation.result())
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert image.std() > 5


def test_a_plot_for_a_screen_is_the_same_plot():
    image = plot_image(plot(line()))
    assert image.shape == (460, 560, 3)
