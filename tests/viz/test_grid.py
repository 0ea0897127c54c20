import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from genimg_ref.viz.grid import show, tile


def numbered(count, channels=1, height=3, width=5):
    return torch.linspace(-1, 1, count)[:, None, None, None].expand(count, channels, height, width)


def test_images_stand_in_reading_order_with_white_between():
    sheet = tile(numbered(5), columns=3)
    assert sheet.shape == (2 * 3 + 1, 3 * 5 + 2)
    assert np.allclose(sheet[:3, :5], 0.0)
    assert np.allclose(sheet[:3, 12:], 0.5)
    assert np.allclose(sheet[4:, 6:11], 1.0)
    assert np.allclose(sheet[4:, :5], 0.75)
    assert np.allclose(sheet[3], 1.0) and np.allclose(sheet[4:, 12:], 1.0)


def test_colour_and_a_short_row():
    sheet = tile(numbered(2, channels=3), columns=8)
    assert sheet.shape == (3, 11, 3)


def test_values_outside_are_clipped():
    sheet = tile(torch.full((1, 1, 2, 2), -7.0))
    assert sheet.min() == 0.0


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (2, 2, 4, 4)])
def test_what_cannot_be_shown_is_refused(shape):
    with pytest.raises(ValueError, match="at least one, of 1 or 3 channels"):
        tile(torch.zeros(shape))


def test_show_labels_the_middle_of_each_column_above():
    ax = show(numbered(4), columns=2, column_labels=["left", "right"])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["left", "right"]
    assert np.allclose(ax.get_xticks(), [2, 8])
    assert ax.xaxis.get_ticks_position() == "top"
    plt.close(ax.figure)


def test_show_labels_the_middle_of_each_row():
    ax = show(numbered(4), columns=2, row_labels=["upper", "lower"], title="two rows")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["upper", "lower"]
    assert np.allclose(ax.get_yticks(), [1, 5])
    assert ax.get_title() == "two rows"
    plt.close(ax.figure)
