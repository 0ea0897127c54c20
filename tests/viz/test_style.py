"""The palette must stay legible: enough contrast on paper, and no two colours alike to a colour-blind eye."""

from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from genimg_ref.viz import style

# How a colour looks without one of the three cones: Machado, Oliveira & Fernandes (2009), on linear RGB.
VISION = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear_rgb(colour: str) -> np.ndarray:
    srgb = np.array(to_rgb(colour))
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def contrast(colour: str, other: str) -> float:
    """The contrast ratio that WCAG 2 defines, from 1 to 21."""
    low, high = sorted(float(linear_rgb(c) @ [0.2126, 0.7152, 0.0722]) for c in (colour, other))
    return (high + 0.05) / (low + 0.05)


def cielab(linear: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(linear, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(colour: str, other: str, vision: np.ndarray) -> float:
    """The distance in CIELAB (CIE76) as seen with the given vision; about 2 is just noticeable."""
    return float(np.linalg.norm(cielab(vision @ linear_rgb(colour)) - cielab(vision @ linear_rgb(other))))


@pytest.mark.parametrize("colour", [*style.CYCLE, style.MUTED])
def test_marks_stand_out_from_paper(colour: str) -> None:
    assert contrast(colour, style.PAPER) >= 3


def test_text_reads_on_paper() -> None:
    assert contrast(style.INK, style.PAPER) >= 7
    assert contrast(style.MUTED, style.PAPER) >= 4.5


@pytest.mark.parametrize("vision", VISION)
def test_colours_stay_apart(vision: str) -> None:
    pairs = {(a, b): difference(a, b, VISION[vision]) for a, b in combinations(style.CYCLE, 2)}
    assert min(pairs.values()) >= 15, min(pairs, key=pairs.__getitem__)
    assert pairs[style.REAL, style.FAKE] >= 40


def test_field_runs_from_fake_through_paper_to_real() -> None:
    low, middle, high = (np.array(style.FIELD(x)[:3]) for x in (0.0, 0.5, 1.0))
    assert low[0] > low[2] and high[2] > high[0]
    np.testing.assert_allclose(middle, to_rgb(style.PAPER), atol=0.01)


def test_use_reaches_new_figures() -> None:
    with mpl.rc_context():
        style.use()
        figure, axes = plt.subplots()
        (line,) = axes.plot([0, 1], [0, 1])
        assert line.get_color() == style.REAL
        assert mpl.colors.to_hex(figure.get_facecolor()).upper() == style.PAPER
        plt.close(figure)
