import io

import numpy as np
import pytest
import torch
from PIL import Image

from genimg_ref.viz.animate import animate


def frames(count=3, channels=1):
    return [torch.full((4, channels, 6, 5), -1 + 2 * i / (count - 1)) for i in range(count)]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_gif_holds_the_frames(channels):
    animation = animate(frames(channels=channels), "three greys", columns=2, milliseconds=100, last=500)
    gif = Image.open(io.BytesIO(animation.data))
    assert gif.n_frames == 3 and gif.info["loop"] == 0
    assert gif.size == (2 * 5 + 1, 2 * 6 + 1)
    for index, grey in enumerate((0, 128, 255)):
        gif.seek(index)
        assert np.asarray(gif.convert("L"))[0, 0] == grey
        assert gif.info["duration"] == (500 if index == 2 else 100)


def test_the_html_is_self_contained_and_described():
    page = animate(frames(), 'garments "form" & <stay>')._repr_html_()
    assert 'alt="garments &quot;form&quot; &amp; &lt;stay&gt;"' in page
    assert 'src="data:image/gif;base64,' in page and "http" not in page.split("base64,")[0]


def test_captions_add_a_strip():
    plain, captioned = animate(frames(), "greys"), animate(frames(), "greys", captions=["a", "b", "c"])
    assert captioned.height > plain.height and captioned.width == plain.width


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"frames": [], "alt": "nothing"}, "at least one frame"),
        ({"frames": frames(), "alt": " "}, "cannot see it"),
        ({"frames": frames(), "alt": "greys", "captions": ["one"]}, "1 for 3"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        animate(**arguments)
