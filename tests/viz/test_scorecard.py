import matplotlib.pyplot as plt
import numpy as np
import pytest

from genimg_ref.viz.scorecard import scorecard

ROWS = {"data": [0.1, 8.0], "noise": [10.1, 4.0], "blur": [2.6, 8.0]}


def test_cells_say_the_numbers_in_their_format():
    ax = scorecard(ROWS, ["distance", "score"], formats=[".1f", ".3f"])
    assert [text.get_text() for text in ax.texts] == ["0.1", "8.000", "10.1", "4.000", "2.6", "8.000"]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(ROWS)
    plt.close("all")


def test_the_first_row_is_plain_and_the_furthest_darkest():
    ax = scorecard(ROWS, ["distance", "score"])
    np.testing.assert_allclose(ax.images[0].get_array(), [[0, 0], [1, 1], [0.5, 0]])
    plt.close("all")


def test_equal_rows_are_plain():
    ax = scorecard({"a": [1.0], "b": [1.0]}, ["x"])
    assert np.all(ax.images[0].get_array() == 0)
    plt.close("all")


@pytest.mark.parametrize(
    ("rows", "columns", "formats", "message"),
    [
        ({"a": [1.0]}, ["x", "y"], None, "a must have 2 entries"),
        ({"a": [1.0]}, ["x"], [".1f", ".2f"], "formats must have 1 entries"),
        ({}, ["x"], None, "at least one row"),
    ],
)
def test_what_does_not_fit_is_refused(rows, columns, formats, message):
    with pytest.raises(ValueError, match=message):
        scorecard(rows, columns, formats=formats)
