"""Small animations that carry their pictures with them.

Chapter: dcgan.
"""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from genimg_ref.viz.grid import tile

__all__ = ["Animation", "animate"]

STRIP = 14  # height in pixels of the caption under a frame, before enlarging


class Animation:
    """A GIF for notebooks that a reader can hide: its bytes ``data``, its description ``alt``."""

    def __init__(self, data: bytes, alt: str, width: int, height: int) -> None:
        self.data, self.alt, self.width, self.height = data, alt, width, height

    def _repr_html_(self) -> str:
        encoded = base64.b64encode(self.data).decode()
        return (
            "<details open><summary>Animation (press to hide)</summary>"
            f'<img alt="{html.escape(self.alt)}" width="{self.width}" height="{self.height}" '
            f'style="max-width:100%;height:auto;image-rendering:pixelated" '
            f'src="data:image/gif;base64,{encoded}"></details>'
        )


def animate(
    frames: Sequence[Float[Tensor, "batch channels height width"]],
    alt: str,
    *,
    columns: int = 8,
    captions: Sequence[str] | None = None,
    milliseconds: int = 300,
    last: int = 2000,
    zoom: int = 2,
) -> Animation:
    """Turn sheets of images in [-1, 1], one a frame, into a looping animation; it rests on the last frame.

    Args:
        frames: the images of each frame, all of one shape.
        alt: what a reader who cannot see the animation should know of it.
        columns: images in a row of the sheet.
        captions: a few words under each frame.
        milliseconds: how long a frame stays; ``last`` is the same for the last one.
        zoom: screen pixels for each pixel of an image. The file holds the frames unenlarged, captions apart.

    Raises:
        ValueError: for no frames, an empty ``alt``, or captions that are not as many as the frames.
    """
    if not frames or not alt.strip():
        raise ValueError("an animation needs at least one frame and a text for those who cannot see it (alt)")
    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"captions must be as many as frames: {len(captions)} for {len(frames)}")
    pictures = []
    for index, frame in enumerate(frames):
        sheet = np.rint(tile(frame, columns) * 255).astype(np.uint8)
        picture = Image.fromarray(sheet)
        if captions is not None:
            picture = _caption(picture, captions[index])
        pictures.append(picture)
    buffer = io.BytesIO()
    durations = [milliseconds] * (len(pictures) - 1) + [last]
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=True
    )
    width, height = pictures[0].size
    return Animation(buffer.getvalue(), alt, width * zoom, height * zoom)


def _caption(picture: Image.Image, text: str) -> Image.Image:
    """The picture with a white strip under it that holds ``text``."""
    white = 255 if picture.mode == "L" else (255, 255, 255)
    whole = Image.new(picture.mode, (picture.width, picture.height + STRIP), white)
    whole.paste(picture, (0, 0))
    ImageDraw.Draw(whole).text((2, picture.height + 2), text, fill=0 if picture.mode == "L" else (0, 0, 0))
    return whole
