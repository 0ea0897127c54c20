"""Scenes: what the attributes say can be measured in the pixels; masks, edges and captions agree with it."""

import math
from inspect import unwrap
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from matplotlib.path import Path
from scipy.spatial import cKDTree
from skimage.color import deltaE_ciede2000, rgb2lab
from torch.nn.functional import avg_pool2d, max_pool2d

from genimg_ref.data import shapes

ALL = shapes.combinations()
COLUMN = {name: k for k, name in enumerate(shapes.ATTRIBUTES)}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=[16, 32])
def every(request):
    """One scene of each kind."""
    return shapes.render(ALL, request.param, rng=rng(1))


def pixels(size):
    """x and y of the centres of all pixels, where the image spans [-1, 1]."""
    line = (torch.arange(size) + 0.5) * 2 / size - 1
    return torch.meshgrid(line, line, indexing="xy")


# the interface


def test_types_shapes_and_ranges():
    scenes = shapes.sample(5, 24, rng=rng())
    assert scenes.images.shape == (5, 3, 24, 24)
    assert scenes.masks.shape == scenes.edges.shape == (5, 1, 24, 24)
    assert scenes.attributes.shape == (5, 5) and scenes.attributes.dtype == torch.int64
    for values, low in ((scenes.images, -1), (scenes.masks, 0), (scenes.edges, -1)):
        assert values.dtype == torch.float32
        assert values.min() >= low and values.max() <= 1
    assert shapes.sample(0, rng=rng()).images.shape == (0, 3, 32, 32)


def test_the_generator_alone_decides():
    state = torch.get_rng_state()
    first, again, other = (shapes.sample(9, rng=rng(s)) for s in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(torch.get_rng_state(), state)


def test_parts_drawn_in_turn_are_the_whole(monkeypatch):
    whole = shapes.sample(30, rng=rng())
    monkeypatch.setattr(shapes, "PIXELS_AT_ONCE", 4 * 32**2)
    source = rng()
    parts = [shapes.sample(count, rng=source) for count in (1, 18, 11)]
    for k, expected in enumerate(whole):
        torch.testing.assert_close(torch.cat([part[k] for part in parts]), expected)


def test_scenes_with_the_same_words_differ():
    """Place, size and shades are spread out over nearly all of what is allowed, and no farther."""
    attributes = shapes.parse("large red circle in the centre on a plain background").repeat(300, 1)
    images, _, masks, _ = shapes.render(attributes, rng=rng())
    area = masks.sum(dim=(1, 2, 3))
    for t in pixels(32):
        centre = (masks * t).sum(dim=(1, 2, 3)) / area
        assert 0.9 * shapes.SHIFT < centre.max() < 1.05 * shapes.SHIFT
        assert -0.9 * shapes.SHIFT > centre.min() > -1.05 * shapes.SHIFT
    growth = (area.max() / area.min()).sqrt().item()
    assert growth == pytest.approx((1 + shapes.GROWTH) / (1 - shapes.GROWTH), rel=0.02)
    for pixel, spread in ((images[:, :, 16, 16], 0.04), (images[:, :, 0, 0], 0.01)):
        assert (pixel.amax(dim=0) - pixel.amin(dim=0)).min() > spread


def test_another_resolution_shows_the_same_scenes():
    """Four pixels at twice the resolution average to one; a scene drawn anew would be far off."""
    small, large = (shapes.sample(200, size, rng=rng()) for size in (32, 64))
    other = shapes.render(small.attributes, 32, rng=rng(1))
    for now, fine, redrawn in (
        (small.images, large.images, other.images),
        (small.masks, large.masks, other.masks),
    ):
        error = (avg_pool2d(fine, 2) - now).abs().mean(dim=(1, 2, 3))
        assert error.max() < 0.006
        assert (redrawn - now).abs().mean() > 10 * error.mean()


def test_all_combinations_are_equally_likely():
    drawn = shapes.sample(60_000, 8, rng=rng()).attributes
    index = (drawn * torch.tensor([7 * 2 * 9 * 4, 2 * 9 * 4, 9 * 4, 4, 1])).sum(dim=1)
    count = torch.bincount(index, minlength=len(ALL)).double()
    assert torch.equal(ALL[index], drawn) and len(count) == len(ALL) == 3024
    expected = 60_000 / len(ALL)
    chi2 = ((count - expected).square() / expected).sum().item()
    assert abs(chi2 - len(ALL)) < 4 * math.sqrt(2 * len(ALL))


def test_exclude_leaves_out_exactly_what_it_says():
    left = shapes.combinations(exclude=["red triangle", "small star on dots"])
    said = shapes.captions(ALL)
    out = {c for c in said if "red triangle" in c or ("small" in c and "star" in c and "dots" in c)}
    assert set(shapes.captions(left)) == set(said) - out
    assert len(out) == 2 * 9 * 4 + 7 * 9
    drawn = shapes.sample(4000, 8, rng=rng(), exclude=["red triangle", "small star on dots"])
    assert not out & set(shapes.captions(drawn.attributes))


def test_only_asks_for_words():
    scenes = shapes.sample(300, 8, rng=rng(), only="a small red circle", exclude=["stripes"])
    shape, colour, size, position, background = scenes.attributes.T
    assert (
        shape.unique().tolist() == [0] and colour.unique().tolist() == [0] and size.unique().tolist() == [0]
    )
    assert len(position.unique()) == 9
    assert background.unique().tolist() == [0, 2, 3]


def test_captions_say_everything_and_are_read_back():
    said = shapes.captions(ALL)
    assert len(set(said)) == len(ALL)
    assert torch.equal(torch.stack([shapes.parse(c) for c in said]), ALL)
    assert shapes.captions(torch.tensor([[0, 0, 0, 0, 1], [3, 6, 1, 4, 0]])) == [
        "a small red circle at the top left on stripes",
        "a large black star in the centre on a plain background",
    ]


def test_a_part_of_a_caption_leaves_the_rest_open():
    assert shapes.parse("Red circle").tolist() == [0, 0, -1, -1, -1]
    assert shapes.parse("at the bottom right").tolist() == [-1, -1, -1, 8, -1]
    assert shapes.parse("").tolist() == [-1] * 5


# what the attributes say is in the pixels


def test_the_colour_under_the_mask_is_the_named_one(every):
    """A thin shape fills no pixel at 16 pixels: what the ground adds to each is taken away."""
    off = (every.masks == 0).float()
    ground = (every.images * off).sum(dim=(2, 3), keepdim=True) / off.sum(dim=(2, 3), keepdim=True)
    paint = every.masks * (every.images - (1 - every.masks) * ground)
    mean = paint.sum(dim=(2, 3)) / every.masks.square().sum(dim=(2, 3))
    named = 2 * torch.tensor(list(shapes.RGB.values())) - 1
    assert torch.equal(torch.cdist(mean, named).argmin(dim=1), every.attributes[:, COLUMN["colour"]])


def test_large_is_larger_than_small(every):
    area = every.masks.mean(dim=(1, 2, 3))
    shape, size = every.attributes[:, COLUMN["shape"]], every.attributes[:, COLUMN["size"]]
    for k in range(len(shapes.SHAPES)):
        assert area[(shape == k) & (size == 1)].min() > 1.5 * area[(shape == k) & (size == 0)].max()


def test_the_centroid_is_at_the_named_position(every):
    x, y = pixels(every.images.shape[-1])
    total = every.masks.sum(dim=(1, 2, 3))
    centroid = torch.stack([(every.masks * t).sum(dim=(1, 2, 3)) / total for t in (x, y)], dim=1)
    named = torch.tensor(
        [
            [("right" in words) - ("left" in words), ("bottom" in words) - ("top" in words)]
            for words in shapes.POSITIONS
        ]
    )
    distance = torch.cdist(centroid, shapes.OFFSET * named)
    assert torch.equal(distance.argmin(dim=1), every.attributes[:, COLUMN["position"]])
    assert distance.min(dim=1).values.max() < 0.1


def star_corners(points, tip, dent):
    angle = np.arange(2 * points) * np.pi / points
    radius = np.where(np.arange(2 * points) % 2 == 0, tip, dent)
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=1)


def circle(radius):
    return star_corners(2000, radius, radius)


ARM, WIDTH = 0.95, 0.31
CORNERS = {
    "circle": [circle(0.86)],
    "square": [0.8 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])],
    "triangle": [1.02 * np.array([[0, -1], [math.sqrt(3) / 2, 0.5], [-math.sqrt(3) / 2, 0.5]])],
    "star": [star_corners(5, 1.02, 0.47)],
    "ring": [circle(0.93), circle(0.43)],
    "cross": [
        np.array(
            [
                *([WIDTH, -ARM], [WIDTH, -WIDTH], [ARM, -WIDTH], [ARM, WIDTH], [WIDTH, WIDTH], [WIDTH, ARM]),
                *([-WIDTH, ARM], [-WIDTH, WIDTH], [-ARM, WIDTH], [-ARM, -WIDTH], [-WIDTH, -WIDTH]),
                [-WIDTH, -ARM],
            ]
        )
    ],
}


def inside(shape, x, y):
    """Which points lie in the shape, by matplotlib's test."""
    points = np.stack([x.flatten(), y.flatten()], axis=1)
    return np.logical_xor.reduce([Path(ring).contains_points(points) for ring in CORNERS[shape]])


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_distances_are_those_to_the_corners_and_sides(shape):
    """Against the nearest of many points along the sides, and matplotlib's test of what is inside."""
    x, y = torch.rand(2, 1500, generator=rng()) * 3 - 1.5
    rings = [np.concatenate([corners, corners[:1]]) for corners in CORNERS[shape]]
    steps = np.linspace(0, 1, 2000 // len(rings[0]) + 2)[:, None]
    sides = np.concatenate([a + steps * (b - a) for ring in rings for a, b in pairwise(ring)])
    within = inside(shape, x.numpy(), y.numpy())
    expected = cKDTree(sides).query(np.stack([x, y], axis=1))[0] * np.where(within, -1, 1)
    came = shapes.OUTLINES[shape](x, y).numpy()
    if shape == "cross":  # deep inside, where two boxes overlap, a bound only
        assert (came[within] >= expected[within] - 2e-3).all() and (came[within] < 1e-3).all()
        came, expected = came[~within], expected[~within]
    np.testing.assert_allclose(came, expected, atol=2e-3)


def length(corners):
    return np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).sum()


def features(lengths, masks):
    """Outline over the root of the area, second moment over the squared area: alike at any size and turn."""
    x, y = pixels(masks.shape[-1])
    area = masks.mean(dim=(1, 2), keepdim=True)
    squared = sum((t - (masks * t).mean(dim=(1, 2), keepdim=True) / area).square() for t in (x, y))
    area, moment = 4 * area[:, 0, 0], 4 * (masks * squared).mean(dim=(1, 2))
    return torch.stack([lengths / area.sqrt(), moment / area.square()], dim=1)


def test_shapes_have_different_masks():
    """Outline, from the ink, and mask are those of the shape with the given corners, and of no other."""
    x, y = (t.numpy() for t in pixels(100))
    ideal = torch.tensor(np.stack([inside(word, x, y).reshape(100, 100) for word in shapes.SHAPES])).float()
    named = features(torch.tensor([sum(map(length, CORNERS[w])) for w in shapes.SHAPES]).float(), ideal)
    kinds = shapes.combinations(only="large plain")
    _, _, masks, edges = shapes.render(kinds, 64, rng=rng())
    ink = (1 - edges).mean(dim=(1, 2, 3)) / 2 * 64**2
    came = features(ink / shapes.LINE * (2 / 64), masks[:, 0])
    shape = kinds[:, COLUMN["shape"]]
    torch.testing.assert_close(came, named[shape], rtol=0.04, atol=0)
    assert torch.equal(torch.cdist(came.log(), named.log()).argmin(dim=1), shape)


def test_backgrounds_are_told_apart_off_the_object(every):
    """Plain has one tone; stripes change in one direction; dots are dark on less than checks are."""
    grey = every.images.mean(dim=1)
    off = (max_pool2d(every.masks, 5, 1, 2) == 0)[:, 0, 1:-1, 1:-1].float()

    def mean(values):
        return (values * off).sum(dim=(1, 2)) / off.sum(dim=(1, 2))

    across = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    down = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    xx, yy, xy = mean(across.square()), mean(down.square()), mean(across * down)
    one_way = ((xx - yy).square() + 4 * xy.square()).sqrt() / (xx + yy)

    tone = grey[:, 1:-1, 1:-1] - mean(grey[:, 1:-1, 1:-1])[:, None, None]
    contrast = mean(tone.square()).sqrt()
    skew = mean(tone**3) / contrast**3

    plain, stripes, dots, checks = (every.attributes[:, COLUMN["background"]] == k for k in range(4))
    assert contrast[plain].max() < 1e-5 and contrast[~plain].min() > 0.05
    assert one_way[stripes].min() > 0.8 > 0.5 > one_way[dots | checks].max()
    assert skew[dots].max() < -0.3 < skew[checks].min()


# Machado, Oliveira & Fernandes (2009): what is seen without one of the three cones, on linear RGB
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


@pytest.mark.parametrize("vision", VISION)
def test_colours_keep_apart_and_off_the_grounds(vision):
    tones = [
        np.array(c) * s for c in (shapes.WARM, shapes.COOL) for s in (1, 1 - shapes.DARKER - shapes.DEEPER)
    ]
    srgb = np.array([*shapes.RGB.values(), *tones])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) @ VISION[vision].T
    linear = linear.clip(0, 1)
    lab = rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
    colours = len(shapes.RGB)
    for a, b in combinations(range(len(lab)), 2):
        if a < colours:
            assert deltaE_ciede2000(lab[a], lab[b]) > (20 if vision == "all cones" else 13), (a, b)


# masks and edges belong to the image


@pytest.mark.parametrize("size", [16, 32, 64])
def test_nothing_is_cut_off(size):
    """No shape reaches a pixel at the border, and from 32 pixels on no pen does."""
    scenes = shapes.render(shapes.combinations(only="large plain").repeat(20, 1), size, rng=rng(2))
    border = torch.ones(size, size, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert scenes.masks[..., border].max() < (0.1 if size == 16 else 1e-6)
    if size > 16:
        assert (scenes.edges[..., border] == 1).all()


def test_masks_are_where_the_object_is():
    """On a plain ground the image is ground where the mask is 0, paint where it is 1, a mix between."""
    kinds = shapes.combinations(only="plain")
    images, _, masks, _ = shapes.render(kinds, rng=rng())
    ground = images[:, :, :1, :1]
    full = masks.flatten(1).argmax(dim=1)
    paint = images.flatten(2)[torch.arange(len(kinds)), :, full][:, :, None, None]
    certain = masks.amax(dim=(1, 2, 3)) == 1
    expected = ground + masks * (paint - ground)
    assert certain.float().mean() > 0.9
    torch.testing.assert_close(images[certain], expected[certain], atol=1e-5, rtol=0)


def test_edges_are_where_the_mask_changes(every):
    ink = (1 - every.edges) / 2
    assert (ink[(every.masks > 0.3) & (every.masks < 0.7)] == 1).all()
    steady = max_pool2d(every.masks, 5, 1, 2) + max_pool2d(-every.masks, 5, 1, 2) == 0
    assert ink[steady].max() < 1e-6
    assert steady.float().mean() > 0.4


def test_edges_are_where_the_image_changes():
    images, _, _, edges = shapes.render(shapes.combinations(only="plain"), rng=rng())
    change = torch.maximum(
        (images[:, :, 1:-1, 2:] - images[:, :, 1:-1, :-2]).abs().amax(dim=1),
        (images[:, :, 2:, 1:-1] - images[:, :, :-2, 1:-1]).abs().amax(dim=1),
    )
    line = edges[:, 0, 1:-1, 1:-1]
    assert change[line == -1].quantile(0.01) > 0.1
    flat = max_pool2d(-edges, 3, 1, 1)[:, 0, 1:-1, 1:-1] == -1
    assert change[flat].max() < 1e-5


@pytest.mark.parametrize("size", [24, 48, 96])
def test_the_pen_is_a_pixel_and_a_half_wide(size):
    """All the ink, over the length of the outline, which is how much the mask goes up and down."""
    scenes = shapes.render(shapes.combinations(only="large circle"), size, rng=rng())
    ink = (1 - scenes.edges).sum() / 2
    radius = (scenes.masks.sum(dim=(1, 2, 3)) / math.pi).sqrt()
    torch.testing.assert_close((ink / (2 * math.pi * radius).sum()).item(), shapes.LINE, rtol=0.03, atol=0)


# errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": -1}, "count must be a number of scenes, 0 or more; got -1"),
        ({"size": 7}, "size must be 8 pixels or more; got 7"),
        (
            {"only": "red hexagon"},
            r"caption must be made of the words circle, .*; got 'hexagon' in 'red hexagon'",
        ),
        ({"only": "red blue star"}, "caption must have one colour; got 'red blue star'"),
        ({"only": "left left"}, "got 'left left' in"),
        ({"exclude": "red star"}, r"exclude must be a list of phrases, .*; got 'red star'"),
        (
            {"only": "red", "exclude": ["red"]},
            r"only and exclude must leave a combination; got 'red' and \['red'\]",
        ),
    ],
)
def test_bad_requests_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        shapes.sample(**{"count": 2, "rng": rng(), **arguments})


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (torch.tensor([[0, 7, 0, 0, 0]]), "attributes must have a colour of 0 to 6; got 7"),
        (torch.tensor([[0, 0, 0, 0, 0], [-1, 0, 0, 0, 0]]), "attributes must have a shape of 0 to 5; got -1"),
        (torch.zeros(2, 4).long(), r"whole numbers of shape \(count, 5\); got torch.int64 of shape \(2, 4\)"),
        (torch.zeros(5).long(), r"whole numbers of shape \(count, 5\); got torch.int64 of shape \(5,\)"),
        (torch.zeros(2, 5), r"whole numbers of shape \(count, 5\); got torch.float32 of shape \(2, 5\)"),
    ],
)
def test_bad_attributes_are_named(attributes, message):
    with pytest.raises(ValueError, match=message):
        unwrap(shapes.captions)(attributes)
    with pytest.raises(ValueError, match=message):
        unwrap(shapes.render)(attributes, rng=rng())
