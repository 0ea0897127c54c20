"""Pictures of the plane: the right colours at the right places, arrows along the gradient."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.quiver import Quiver

from genimg_ref.gan.losses import LOSSES
from genimg_ref.viz import plane, style

matplotlib.use("Agg")


@pytest.fixture
def ax():
    figure, axes = plt.subplots(figsize=(2, 2), dpi=50)
    yield axes
    plt.close(figure)


def upwards(x):
    """A discriminator that trusts whatever lies high, with a slope of 2."""
    return 2 * x[:, 1] - 1


def test_mesh_goes_row_by_row():
    points = plane.mesh(1.5, 3)
    assert points[:4].tolist() == [[-1.5, -1.5], [0, -1.5], [1.5, -1.5], [-1.5, 0]]


def test_surface_is_the_probability_with_up_upwards(ax):
    plane.decision_surface(ax, upwards, extent=2.0, side=5)
    [image] = ax.images
    shown = torch.as_tensor(image.get_array())
    line = torch.linspace(-2, 2, 5)
    torch.testing.assert_close(shown[:, 0], (2 * line - 1).sigmoid())
    assert image.origin == "lower" and image.get_clim() == (0, 1)
    assert tuple(image.get_extent()) == (-2.0, 2.0, -2.0, 2.0)


def test_the_line_of_doubt_lies_at_one_half(ax):
    plane.decision_surface(ax, upwards, extent=2.0, side=41)
    heights = [v[1] for path in ax.collections[0].get_paths() for v in path.vertices]
    assert heights and all(h == pytest.approx(0.5, abs=0.01) for h in heights)


def test_no_line_where_there_is_no_doubt(ax):
    plane.decision_surface(ax, lambda x: torch.ones(len(x)))
    assert not ax.collections


def test_scatter_keeps_real_and_fake_apart(ax):
    real, fake = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -1.0], [0.0, 0.0]])
    plane.scatter(ax, real, fake)
    first, second = (c for c in ax.collections if isinstance(c, PathCollection))
    assert first.get_offsets().tolist() == real.tolist()
    assert second.get_offsets().tolist() == fake.tolist()
    assert matplotlib.colors.to_hex(first.get_facecolor()[0]).lower() == style.REAL.lower()
    assert matplotlib.colors.to_hex(second.get_facecolor()[0]).lower() == style.FAKE.lower()


def test_arrows_are_the_negative_gradient_of_one_sample(ax):
    fake = torch.tensor([[0.3, 0.5], [1.0, -1.0]])
    plane.pushes(ax, upwards, fake, LOSSES["non_saturating"].generator, step=0.5)
    [quiver] = (c for c in ax.collections if isinstance(c, Quiver))
    expected = 0.5 * (1 - upwards(fake).sigmoid()) * 2
    torch.testing.assert_close(torch.as_tensor(quiver.V).float(), expected)
    assert quiver.U.tolist() == [0.0, 0.0]


def test_raster_is_an_image_in_range():
    figure, axes = plt.subplots(figsize=(3, 2), dpi=50)
    figure.set_facecolor("white")
    axes.axis("off")
    axes.fill([0, 1, 1, 0], [0, 0, 1, 1], color=(1, 0, 0))
    image = plane.raster(figure)
    assert image.shape == (1, 3, 100, 150)
    assert image[0, :, 0, 0].tolist() == [1, 1, 1]
    assert image[0, :, 50, 75].tolist() == [1, -1, -1]
    assert not plt.fignum_exists(figure.number)


def test_bad_input_is_named(ax):
    with pytest.raises(ValueError, match=r"extent must be positive and side 2 or more; got 0.0 and 80"):
        plane.decision_surface(ax, upwards, extent=0.0)
