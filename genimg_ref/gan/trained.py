"""The generators of the chapters, trained, so that they can be judged without training them again.

Chapter: metrics

``tools/make_generators.py`` trains them as their chapters do, with three seeds each, and writes a card with
what was measured beside each file of weights.
"""

from pathlib import Path

from torch import nn

from genimg_ref.gan.dcgan import Generator
from genimg_ref.gan.mlp import MLPGenerator
from genimg_ref.train import weights

__all__ = ["FILES", "SEEDS", "build", "load"]

FILES = Path(__file__).parent / "files"
SEEDS = (0, 1, 2)
SHA256 = {
    "dcgan": "c153275f3e1cbce8cfb86c53dfa9540c06a32063c1e08bde9cef415e1c996606",
    "mlp": "54ef0c0de74901975b3296edd6d8bf11a2a7043e5730c5a94efed8d0855118b1",
}


def build(name: str) -> nn.Module:
    """The untrained network whose weights `load` fills in.

    Raises ``ValueError`` for an unknown name.
    """
    if name == "dcgan":
        return Generator(28, latent=64, channels=32)
    if name == "mlp":
        return MLPGenerator(latent=64, hidden=(128, 256), batch_norm=True)
    raise ValueError(f"name must be one of {', '.join(SHA256)}; got {name!r}")


def load(name: str, seed: int = 0) -> nn.Module:
    """A trained generator of 28 x 28 images, ready for use: in evaluation mode, without gradients.

    Args:
        name: ``mlp``, the fully connected GAN of the chapter ``gan_math``, or ``dcgan``, the averaged
            generator of the chapter ``dcgan``. Both take latent vectors ``(batch, 64)`` from the standard
            normal.
        seed: of the training run, one of `SEEDS`.

    Raises:
        ValueError: for another name or seed.
        RuntimeError: where the file of weights is missing or damaged.
    """
    network = build(name)
    if seed not in SEEDS:
        raise ValueError(f"seed must be one of {SEEDS}; got {seed!r}")
    stored = weights.load(FILES / f"{name}.safetensors", SHA256[name])
    prefix = f"{seed}/"
    own = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
    network.load_state_dict(own)  # float16 on disk becomes float32
    return network.eval().requires_grad_(False)
