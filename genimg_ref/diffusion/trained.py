"""The diffusion model of garments, trained, so that it can be sampled without training it again.

Chapter: samplers

``tools/make_diffusion.py`` trains it and writes a card with what was measured beside the file of weights.
It is a flow on the straight path: at ``x_t = (1 - t) x_0 + t eps`` the model gives the velocity ``eps -
x_0``, of which :mod:`genimg_ref.diffusion.predict` makes the noise, the image or ``v``.
"""

from pathlib import Path

import torch

from genimg_ref.diffusion.unet import UNet
from genimg_ref.train import weights

__all__ = ["FILES", "build", "load"]

FILES = Path(__file__).parent / "files"
SHA256 = {
    "fashion": "2386aacb66c43ca79b629ca67ae4b6560d4a411f3006a580b48bbc284caee6bd",
}


def build(name: str, rng: torch.Generator | None = None) -> UNet:
    """The untrained network whose weights `load` fills in; ``rng`` is for its initial weights.

    Raises ``ValueError`` for an unknown name.
    """
    if name == "fashion":
        return UNet(1, (32, 64, 64), classes=10, places=False, rng=rng)
    raise ValueError(f"name must be one of {', '.join(SHA256)}; got {name!r}")


def load(name: str) -> UNet:
    """A trained model, ready for use: in evaluation mode, without gradients.

    Args:
        name: ``fashion``, garments of 28 x 28, told labels 0 to 9, or 10 for any. Without a label it takes
            the null one, which is ``model.null(count)``.

    Raises:
        ValueError: for another name.
        RuntimeError: where the file of weights is missing or damaged.
    """
    model = build(name)
    model.load_state_dict(weights.load(FILES / f"trained_{name}.safetensors", SHA256[name]))
    return model.eval().requires_grad_(False)
