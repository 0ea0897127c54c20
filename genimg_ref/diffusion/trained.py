"""The diffusion models of the chapters, trained, so that they can be sampled without training them again.

Chapters: samplers, guidance

``tools/make_diffusion.py`` trains the one of garments and ``tools/make_shapes_diffusion.py`` the one of
colour scenes; both write a card with what was measured beside the file of weights. Both are flows on the
straight path: at ``x_t = (1 - t) x_0 + t eps`` the models give the velocity ``eps - x_0``, of which
:mod:`genimg_ref.diffusion.predict` makes the noise, the image or ``v``.
"""

from pathlib import Path

import torch

from genimg_ref.diffusion.text import CaptionEncoder
from genimg_ref.diffusion.unet import UNet
from genimg_ref.train import weights

__all__ = ["FILES", "HELD_OUT", "SHIFT", "build", "load"]

FILES = Path(__file__).parent / "files"
SHA256 = {
    "fashion": "2386aacb66c43ca79b629ca67ae4b6560d4a411f3006a580b48bbc284caee6bd",
    "shapes": "defbbec6f7996c870855cf0726def9359233787e11a56458f7ba25a17110057f",
}
SHIFT = 3.0  # of the times at which the model of colour scenes was trained, see schedule.shifted
HELD_OUT = ("red triangle", "blue star")  # combinations that the model of colour scenes never met


def build(name: str, rng: torch.Generator | None = None) -> UNet:
    """The untrained network whose weights `load` fills in; ``rng`` is for its initial weights.

    Raises ``ValueError`` for an unknown name.
    """
    if name == "fashion":
        return UNet(1, (32, 64, 64), classes=10, rng=rng)
    if name == "shapes":
        return UNet(3, (64, 96, 96), patch=2, conditioner=CaptionEncoder(128, rng=rng), outline=4, rng=rng)
    raise ValueError(f"name must be one of {', '.join(SHA256)}; got {name!r}")


def load(name: str) -> UNet:
    """A trained model, ready for use: in evaluation mode, without gradients.

    Args:
        name: ``fashion``, garments of 28 x 28, told labels 0 to 9, or 10 for any; or ``shapes``, colour
            scenes of 32 x 32, told captions as :func:`genimg_ref.diffusion.text.tokenise` makes tokens of
            them, whole, shortened (``a red circle``) or empty for any. Without a condition both take the null
            one, which is ``model.null(count)``. Scenes with a combination of `HELD_OUT` were never met.

    Raises:
        ValueError: for another name.
        RuntimeError: where the file of weights is missing or damaged.
    """
    model = build(name)
    model.load_state_dict(weights.load(FILES / f"trained_{name}.safetensors", SHA256[name]))
    return model.eval().requires_grad_(False)
