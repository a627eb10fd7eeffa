import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage import measure

from calcseg_tf.evaluation.components import annotated_objects, predicted_components, shared_pixels
from data_prep.components import check_mask, label_components
from data_prep.errors import InputError
from data_prep.mask import CALCIFICATION, IGNORE
from tests.evaluation import reference
from tests.evaluation.drawing import codes_of, mask_of


def test_diagonal_neighbours_are_one_component_of_eight_and_two_of_four():
    image = np.eye(2, dtype=bool)
    assert label_components(image)[1] == 1
    labels, count = label_components(image, connectivity=4)
    assert count == 2
    assert labels.tolist() == [[1, 0], [0, 2]]


def test_background_carries_no_label():
    assert label_components(np.array([[1, 0, 0, 1]], bool))[0].tolist() == [[1, 0, 0, 2]]


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)),
    st.sampled_from([4, 8]),
)
def test_labels_are_the_flood_filled_components(foreground, connectivity):
    labels, count = label_components(foreground, connectivity)
    found = [{(int(row), int(column)) for row, column in np.argwhere(labels == each)} for each in range(1, count + 1)]
    expected = reference.components(foreground, connectivity)
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
    assert ((labels > 0) == foreground).all()


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"uint8 \[2, 3\]"):
        check_mask(np.zeros((3, 2), np.uint8), (2, 3))
    with pytest.raises(InputError, match="uint8"):
        check_mask(np.zeros((2, 3), bool), (2, 3))
    with pytest.raises(InputError, match=r"found \[0, 2\]"):
        check_mask(np.array([[0, 2, 0]], np.uint8), (1, 3))


def test_an_unknown_connectivity_is_refused():
    with pytest.raises(InputError, match="4 or 8"):
        label_components(np.ones((2, 2), bool), connectivity=6)


def test_facts_of_annotated_objects_drawn_by_hand():
    mask = mask_of("..xx.", ".....", "x...?", "xx..x")
    codes = codes_of("..31.", ".....", "....4", ".2...")
    objects = annotated_objects(codes, mask)
    assert len(objects) == 3
    assert objects.area_px.tolist() == [2, 3, 1]
    assert objects.centroid.tolist() == [[0.0, 2.5], [8 / 3, 1 / 3], [3.0, 4.0]]
    assert objects.box.tolist() == [[0, 2, 1, 4], [2, 0, 4, 2], [3, 4, 4, 5]]
    assert objects.detection_code.tolist() == [3000, 2000, 0]
    assert objects.pixels.tolist() == [2, 3, 10, 15, 16, 19]
    assert objects.start.tolist() == [0, 2, 5, 6]


def test_facts_of_predicted_components_drawn_by_hand():
    mask = mask_of("x....", ".....", "....?", "..x..")
    codes = codes_of("42...", "....1", "...34", ".3...")
    found = predicted_components(codes, mask, 2000)
    assert found.area_px.tolist() == [2, 1, 1]
    assert found.max_code.tolist() == [4000, 3000, 3000]
    assert found.touches_annotation.tolist() == [True, False, False]
    assert found.touches_ignored.tolist() == [False, True, False]
    assert found.centroid.tolist() == [[0.0, 0.5], [2.0, 3.0], [3.0, 1.0]]
    assert predicted_components(codes, mask, 1000).touches_ignored.tolist() == [False, True, False]
    assert predicted_components(codes, mask, 1000).area_px.tolist() == [2, 2, 1]
    assert len(predicted_components(codes, mask, 1000, connectivity=4)) == 4
    assert len(predicted_components(codes, mask, 4001)) == 0
    assert len(annotated_objects(codes, np.zeros_like(mask))) == 0


@pytest.mark.parametrize("connectivity", [4, 8])
def test_facts_agree_with_scikit_image(connectivity):
    for codes, mask in reference.random_cases(seed=20 + connectivity, count=150):
        code = int(np.median(codes)) + 1
        foreground = (codes >= code) & (mask != IGNORE)
        labels = measure.label(foreground, connectivity=connectivity // 4)
        expected = measure.regionprops(labels, intensity_image=codes)
        found = predicted_components(codes, mask, code, connectivity)
        assert found.area_px.tolist() == [each.area for each in expected]
        assert found.centroid.tolist() == [list(each.centroid) for each in expected]
        assert found.box.tolist() == [list(each.bbox) for each in expected]
        assert found.max_code.tolist() == [each.intensity_max for each in expected]
        assert found.touches_annotation.tolist() == [
            bool((mask[labels == each.label] == CALCIFICATION).any()) for each in expected
        ]
        shape = np.ones((3, 3)) if connectivity == 8 else None
        assert found.touches_ignored.tolist() == [
            bool((mask[ndimage.binary_dilation(labels == each.label, shape)] == IGNORE).any()) for each in expected
        ]


@settings(max_examples=100, deadline=None)
@given(
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.uint16, shape, elements=st.integers(0, 3)),
            hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 1, 255])),
        )
    )
)
def test_shared_pixels_are_those_in_both_lists(image):
    objects, components = annotated_objects(*image), predicted_components(*image, 2)
    in_object = {
        pixel: n for n in range(len(objects)) for pixel in objects.pixels[objects.start[n] : objects.start[n + 1]]
    }
    in_component = {
        pixel: n
        for n in range(len(components))
        for pixel in components.pixels[components.start[n] : components.start[n + 1]]
    }
    expected = [(in_object[pixel], in_component[pixel]) for pixel in in_object.keys() & in_component.keys()]
    assert sorted(zip(*map(np.ndarray.tolist, shared_pixels(objects, components)), strict=True)) == sorted(expected)
