"""Scenes of one coloured shape on a patterned ground: every attribute is known, captioned and masked.

Chapter: cgan

A scene has a shape, a colour, a size, a position and a background; `ATTRIBUTES` lists the words for each. No
two scenes look alike, for place, radius, turn, shades and pattern vary a little around what the words say::

    rng = torch.Generator().manual_seed(0)
    scenes = sample(1000, rng=rng, exclude=["red triangle"])  # all kinds, but never a red triangle
    unseen = sample(64, rng=rng, only="red triangle")  # nothing else
    captions(unseen.attributes)[0]  # 'a small red triangle at the top right on stripes'
    render(combinations(only="red triangle"), rng=rng)  # each of the 72 kinds once

Shapes and patterns are signed distances, negative inside, in a plane in which the image spans [-1, 1] with y
downwards. A pixel is covered by the share ``clamp(1/2 - distance in pixels, 0, 1)``, so a scene can be drawn
at any resolution. On distance functions of simple shapes: Hart (1996), "Sphere tracing: a geometric method
for the antialiased ray tracing of implicit surfaces", The Visual Computer 12.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = [
    "ATTRIBUTES",
    "BACKGROUNDS",
    "COLOURS",
    "POSITIONS",
    "SHAPES",
    "SIZES",
    "Scenes",
    "captions",
    "combinations",
    "parse",
    "render",
    "sample",
]

# Colours in sRGB, 0 to 1. They keep apart, and off the grounds, for the three forms of colour blindness too.
RGB = {
    "red": (0.737, 0.216, 0.157),
    "orange": (0.847, 0.525, 0.188),
    "yellow": (0.980, 0.796, 0.220),
    "green": (0.188, 0.643, 0.494),
    "blue": (0.137, 0.427, 0.686),
    "purple": (0.373, 0.110, 0.404),
    "black": (0.149, 0.161, 0.176),
}
WARM, COOL = (0.957, 0.933, 0.886), (0.902, 0.925, 0.933)  # a ground is between the two
DARKER = 0.15  # second tone of a pattern, as a share

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
COLOURS = tuple(RGB)
SIZES = ("small", "large")
POSITIONS = (
    *("top left", "top", "top right"),
    *("left", "centre", "right"),
    *("bottom left", "bottom", "bottom right"),
)
BACKGROUNDS = ("plain", "stripes", "dots", "checks")
ATTRIBUTES = {
    "shape": SHAPES,
    "colour": COLOURS,
    "size": SIZES,
    "position": POSITIONS,
    "background": BACKGROUNDS,
}
"""The words of each attribute. The keys are the columns of an attribute tensor, in this order; a value in
column ``colour`` is an index into `COLOURS`, and so on."""

Distance = Callable[[Tensor, Tensor], Tensor]
PLACES = {"top", "bottom", "left", "right", "centre"}
FILLERS = {"a", "an", "the", "at", "in", "on", "background"}

# Lengths where the image spans [-1, 1].
RADII = (0.28, 0.45)
OFFSET = 0.35  # from the centre of the image to the centre of a shape at its side
PERIOD = 0.5  # of a pattern

# How far a scene may be from what its words say.
SHIFT = 0.05  # of the centre
GROWTH = 0.06  # of the radius, as a share
TURN = math.radians(12)  # of shape and pattern
SHADE = 0.07  # of red, green and blue, as a share
DEEPER = 0.03  # of the second tone of a pattern
JITTERS = (2, 1, 1, 3, 2, 1, 1, 1)  # how many numbers, in the order in which `_draw` names them

LINE = 1.5  # width of an edge, in pixels
PIXELS_AT_ONCE = 2**18


class Scenes(NamedTuple):
    """Images with all that is known about them.

    Attributes:
        images: float32 in [-1, 1].
        attributes: int64; columns are the keys of `ATTRIBUTES`, values index their words.
        masks: float32 in [0, 1], the share of each pixel that the shape covers.
        edges: float32 in [-1, 1], the outline of the shape drawn in black (-1) on white (1) by a pen that is
            a pixel and a half wide at every resolution.
    """

    images: Float[Tensor, "count 3 size size"]
    attributes: Int[Tensor, "count 5"]
    masks: Float[Tensor, "count 1 size size"]
    edges: Float[Tensor, "count 1 size size"]


def sample(
    count: int, size: int = 32, *, rng: torch.Generator, only: str = "", exclude: Sequence[str] = ()
) -> Scenes:
    """Draw ``count`` random scenes, with all combinations of attributes that are allowed equally likely.

    The same seed gives the same scenes at every ``size``. With a generator on the CPU, ``sample(10)`` gives
    the scenes (up to rounding) that ``sample(4)`` and then ``sample(6)`` give.

    Args:
        count: how many scenes, 0 or more.
        size: height and width of the images in pixels, 8 or more.
        rng: the source of all randomness; results are on its device.
        only: words that every scene has, such as ``"small red"``. Attributes without a word are drawn.
        exclude: phrases such as ``"red triangle"``; no scene has all the words of any of them.

    Raises:
        ValueError: a bad count or size, an unknown word, or no combination is left.
    """
    if count < 0:
        raise ValueError(f"count must be a number of scenes, 0 or more; got {count}")
    allowed = combinations(only=only, exclude=exclude).to(rng.device)
    noise = torch.rand(count, 1 + sum(JITTERS), generator=rng, device=rng.device)
    chosen = (noise[:, 0].double() * len(allowed)).long()
    return _render(allowed[chosen], noise[:, 1:], size)


def render(attributes: Int[Tensor, "count 5"], size: int = 32, *, rng: torch.Generator) -> Scenes:
    """Draw one scene for each row of ``attributes``, on their device.

    Args:
        attributes: columns are the keys of `ATTRIBUTES`, values index their words.
        size: height and width of the images in pixels, 8 or more.
        rng: decides place, radius, turn, shades and pattern within what the attributes say.

    Raises:
        ValueError: a bad size, or an attribute that has no word.
    """
    _check(attributes)
    noise = torch.rand(len(attributes), sum(JITTERS), generator=rng, device=rng.device)
    return _render(attributes, noise.to(attributes.device), size)


def combinations(*, only: str = "", exclude: Sequence[str] = ()) -> Int[Tensor, "combinations 5"]:
    """All combinations of attributes that have the words of ``only`` and not all those of any in ``exclude``.

    Without arguments these are all there are, 3024. Rows are in the order of the words, the last attribute
    changing fastest.

    Raises:
        ValueError: an unknown word, two words for one attribute, or no combination is left.
    """
    if isinstance(exclude, str):
        raise ValueError(f"exclude must be a list of phrases, such as ['red triangle']; got {exclude!r}")
    table = torch.cartesian_prod(*(torch.arange(len(words)) for words in ATTRIBUTES.values()))
    allowed = _has(table, only)
    for phrase in exclude:
        allowed &= ~_has(table, phrase)
    if not allowed.any():
        raise ValueError(f"only and exclude must leave a combination; got {only!r} and {list(exclude)!r}")
    return table[allowed]


def captions(attributes: Int[Tensor, "count 5"]) -> list[str]:
    """A sentence for each row, such as ``a small red circle at the top left on stripes``.

    Raises:
        ValueError: an attribute that has no word.
    """
    _check(attributes)
    return [_caption(*row) for row in attributes.tolist()]


def parse(caption: str) -> Int[Tensor, "5"]:
    """The attributes that a caption, or a part of one such as ``red circle``, speaks of; -1 for the others.

    Raises:
        ValueError: a word that is no attribute's, or two words for one attribute.
    """
    known = {
        word: (column, k) for column, words in enumerate(ATTRIBUTES.values()) for k, word in enumerate(words)
    }
    words = [word for word in caption.lower().split() if word not in FILLERS]
    place = " ".join(word for word in words if word in PLACES)
    found = [word for word in words if word not in PLACES] + [place] * (place != "")
    attributes = torch.full((len(ATTRIBUTES),), -1)
    for word in found:
        if word not in known:
            raise ValueError(
                f"caption must be made of the words {', '.join(known)}; got {word!r} in {caption!r}"
            )
        column, value = known[word]
        if attributes[column] != -1:
            raise ValueError(f"caption must have one {list(ATTRIBUTES)[column]}; got {caption!r}")
        attributes[column] = value
    return attributes


def _caption(shape: int, colour: int, size: int, position: int, background: int) -> str:
    where = "in the centre" if POSITIONS[position] == "centre" else f"at the {POSITIONS[position]}"
    ground = "a plain background" if BACKGROUNDS[background] == "plain" else BACKGROUNDS[background]
    return f"a {SIZES[size]} {COLOURS[colour]} {SHAPES[shape]} {where} on {ground}"


def _check(attributes: Tensor) -> None:
    if attributes.ndim != 2 or attributes.shape[1] != len(ATTRIBUTES) or attributes.is_floating_point():
        kind = f"{attributes.dtype} of shape {tuple(attributes.shape)}"
        raise ValueError(f"attributes must be whole numbers of shape (count, {len(ATTRIBUTES)}); got {kind}")
    for (name, words), column in zip(ATTRIBUTES.items(), attributes.unbind(1), strict=True):
        wrong = column[(column < 0) | (column >= len(words))]
        if len(wrong):
            raise ValueError(f"attributes must have a {name} of 0 to {len(words) - 1}; got {int(wrong[0])}")


def _has(attributes: Tensor, phrase: str) -> Tensor:
    """Which rows have all the words of ``phrase``."""
    wanted = parse(phrase)
    return ((attributes == wanted) | (wanted == -1)).all(dim=1)


def _render(attributes: Tensor, noise: Tensor, size: int) -> Scenes:
    """Draw the scenes in parts, so that what is needed on the way stays small."""
    if size < 8:
        raise ValueError(f"size must be 8 pixels or more; got {size}")
    images, masks, edges = (noise.new_empty(len(noise), channels, size, size) for channels in (3, 1, 1))
    step = max(1, PIXELS_AT_ONCE // size**2)
    for start in range(0, len(noise), step):
        part = slice(start, start + step)
        images[part], masks[part], edges[part] = _draw(attributes[part], noise[part], size)
    return Scenes(images, attributes, masks, edges)


def _draw(attributes: Tensor, noise: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images, masks and edges of a few scenes; ``noise`` is uniform on [0, 1)."""
    shape, colour, extent, position, background = attributes.unbind(1)
    shift, growth, turn, shade, phase, lean, warmth, depth = (2 * noise - 1).split(JITTERS, dim=1)

    centre = OFFSET * torch.stack([position % 3 - 1, position // 3 - 1], dim=1) + SHIFT * shift
    radius = _wide(noise.new_tensor(RADII)[extent, None] * (1 + GROWTH * growth))
    x, y = _plane(size, centre, TURN * turn)
    distance = _by_kind(shape, SHAPES, OUTLINES, x / radius, y / radius) * radius * (size / 2)

    x, y = _plane(size, PERIOD * phase, TURN * lean)
    pattern = _covered(_by_kind(background, BACKGROUNDS, PATTERNS, x, y) * (size / 2))
    light = _wide(torch.lerp(noise.new_tensor(WARM), noise.new_tensor(COOL), (1 + warmth) / 2))
    ground = light * (1 - _wide(DARKER + DEEPER * depth) * pattern)

    mask, pen = _covered(distance), _covered(distance.abs() - LINE / 2)
    paint = _wide((noise.new_tensor(list(RGB.values()))[colour] * (1 + SHADE * shade)).clamp(max=1))
    return 2 * torch.lerp(ground, paint, mask) - 1, mask, 1 - 2 * pen


def _wide(values: Tensor) -> Tensor:
    """From (count, channels) to (count, channels, 1, 1)."""
    return values[:, :, None, None]


def _covered(distance: Tensor) -> Tensor:
    """The share of a pixel that lies inside, for the signed distance of its centre in pixels."""
    return (0.5 - distance).clamp(0, 1)


def _plane(size: int, centre: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """x and y of all pixels, (count, 1, size, size), seen from each ``centre`` and turned by ``angle``."""
    line = (torch.arange(size, device=centre.device) + 0.5) * (2 / size) - 1
    x, y = line - _wide(centre[:, :1]), line[:, None] - _wide(centre[:, 1:])
    cos, sin = _wide(angle.cos()), _wide(angle.sin())
    return cos * x + sin * y, cos * y - sin * x


def _by_kind(kind: Tensor, words: Sequence[str], shapes: dict[str, Distance], x: Tensor, y: Tensor) -> Tensor:
    """Row ``i`` is ``shapes[words[kind[i]]](x[i], y[i])``."""
    result = torch.empty_like(x)
    for k, word in enumerate(words):
        rows = (kind == k).nonzero().squeeze(1)
        result[rows] = shapes[word](x[rows], y[rows])
    return result


# Signed distances, negative inside. Shapes fit into a circle of radius 1.13 about the origin.


def _disc(x: Tensor, y: Tensor, radius: float) -> Tensor:
    return torch.hypot(x, y) - radius


def _box(x: Tensor, y: Tensor, width: float, height: float) -> Tensor:
    """A box from -width to width and from -height to height."""
    x, y = x.abs() - width, y.abs() - height
    return torch.hypot(x.clamp(min=0), y.clamp(min=0)) + torch.maximum(x, y).clamp(max=0)


def _star(x: Tensor, y: Tensor, points: int, tip: float, dent: float) -> Tensor:
    """``points`` corners at the radius ``tip``, the first one on top, and corners at ``dent`` between them.

    All corners are alike, so the angle is folded to half of one, where a single side remains.
    """
    half = math.pi / points
    angle = (torch.remainder(torch.atan2(x, -y) + half, 2 * half) - half).abs()
    radius = torch.hypot(x, y)
    u, v = radius * angle.cos() - tip, radius * angle.sin()  # seen from the tip
    side_u, side_v = dent * math.cos(half) - tip, dent * math.sin(half)  # from the tip to the dent
    along = ((u * side_u + v * side_v) / (side_u**2 + side_v**2)).clamp(0, 1)
    return torch.hypot(u - along * side_u, v - along * side_v).copysign(u * side_v - v * side_u)


def _repeat(x: Tensor) -> Tensor:
    """The same period, from -PERIOD / 2 to PERIOD / 2, again and again."""
    return torch.remainder(x, PERIOD) - PERIOD / 2


def _bands(x: Tensor) -> Tensor:
    """Bands and gaps between them, each half a period wide."""
    return _repeat(x).abs() - PERIOD / 4


def _checks(x: Tensor, y: Tensor) -> Tensor:
    """Inside the bands of just one direction."""
    across, down = _bands(x), _bands(y)
    return torch.minimum(across.abs(), down.abs()).copysign(across * down)


OUTLINES: dict[str, Distance] = {
    "circle": lambda x, y: _disc(x, y, 0.86),
    "square": lambda x, y: _box(x, y, 0.8, 0.8),
    "triangle": lambda x, y: _star(x, y, 3, 1.02, 0.51),
    "star": lambda x, y: _star(x, y, 5, 1.02, 0.47),
    "ring": lambda x, y: (torch.hypot(x, y) - 0.68).abs() - 0.25,
    "cross": lambda x, y: torch.minimum(_box(x, y, 0.95, 0.31), _box(x, y, 0.31, 0.95)),
}
PATTERNS: dict[str, Distance] = {
    "plain": lambda x, y: torch.ones_like(x),
    "stripes": lambda x, y: _bands((x + y) * math.sqrt(0.5)),
    "dots": lambda x, y: _disc(_repeat(x), _repeat(y), 0.14),
    "checks": _checks,
}
