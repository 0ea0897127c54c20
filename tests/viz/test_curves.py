import matplotlib.pyplot as plt
import numpy as np
import pytest

from genimg_ref.viz.curves import curves, smooth


def test_smooth_is_a_mean_of_the_past():
    assert np.allclose(smooth([1.0, 3.0, 5.0, 0.0], 2), [1, 2, 4, 2.5])
    assert np.allclose(smooth([1.0, 3.0, 5.0], 1), [1, 3, 5])
    assert np.allclose(smooth([1.0, 3.0, 5.0], 100), [1, 2, 3])


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="window"):
        smooth([1.0], 0)


def test_curves_draws_each_series_and_its_running_mean():
    ax = curves(
        {"D": [1.0, 3.0], "G": [2.0, 2.0]}, colours=["#000000", "#ff0000"], ylabel="loss", window=2, every=10
    )
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["D", "G"]
    assert len(ax.lines) == 4
    assert np.allclose(ax.lines[1].get_xydata(), [[10, 1], [20, 2]])
    plt.close(ax.figure)
