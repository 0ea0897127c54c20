"""The generators of the chapters, trained, so that they can be judged without training them again.

Chapters: metrics, cgan

``tools/make_generators.py`` trains them as their chapters do, with three seeds each, and
``tools/make_shapes_cgan.py`` the one of colour scenes; both write a card with what was measured beside each
file of weights.
"""

from pathlib import Path

from torch import nn

from genimg_ref.data import shapes
from genimg_ref.gan import cgan
from genimg_ref.gan.dcgan import Generator
from genimg_ref.gan.mlp import MLPGenerator
from genimg_ref.train import weights

__all__ = ["FILES", "HELD_OUT", "SEEDS", "build", "build_reader", "build_shapes", "load", "load_shapes"]

FILES = Path(__file__).parent / "files"
SEEDS = (0, 1, 2)
SHA256 = {
    "dcgan": "c153275f3e1cbce8cfb86c53dfa9540c06a32063c1e08bde9cef415e1c996606",
    "shapes": "8ed5dfcffd01f1b53cdf9db8676f272ddbc0136e3d7f86f693cc0e8b630053b6",
    "mlp": "54ef0c0de74901975b3296edd6d8bf11a2a7043e5730c5a94efed8d0855118b1",
}
HELD_OUT = ("red triangle", "blue star")  # combinations that the generator of colour scenes never met


def build(name: str) -> nn.Module:
    """The untrained network whose weights `load` fills in.

    Raises ``ValueError`` for an unknown name.
    """
    if name == "dcgan":
        return Generator(28, latent=64, channels=32)
    if name == "mlp":
        return MLPGenerator(latent=64, hidden=(128, 256), batch_norm=True)
    raise ValueError(f"name must be one of dcgan, mlp; got {name!r}")


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
    if type(seed) is not int or seed not in SEEDS:
        raise ValueError(f"seed must be one of {SEEDS}; got {seed!r}")
    stored = weights.load(FILES / f"trained_{name}.safetensors", SHA256[name])
    prefix = f"{seed}/"
    own = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
    network.load_state_dict(own)  # float16 on disk becomes float32
    return network.eval().requires_grad_(False)


def build_shapes() -> tuple[cgan.Generator, cgan.Discriminator]:
    """The untrained networks for colour scenes of 32 x 32."""
    classes = [len(values) for values in shapes.ATTRIBUTES.values()]
    return cgan.Generator(classes, 32, image_channels=3), cgan.Discriminator(
        classes, 32, 32, image_channels=3
    )


def build_reader() -> cgan.Discriminator:
    """The untrained network that reads the attributes of colour scenes."""
    classes = [len(values) for values in shapes.ATTRIBUTES.values()]
    return cgan.Discriminator(classes, 32, 32, image_channels=3, condition="auxiliary")


def load_shapes() -> tuple[cgan.Generator, cgan.Discriminator]:
    """The trained generator of colour scenes and the network that reads their attributes.

    The generator takes latent vectors ``(batch, 64)`` and attributes ``(batch, 5)`` as in
    :mod:`genimg_ref.data.shapes`; it has never met the combinations in `HELD_OUT`. The reader's
    ``read_labels`` says which attributes it sees.

    Raises ``RuntimeError`` where the file of weights is missing or damaged.
    """
    stored = weights.load(FILES / "trained_shapes.safetensors", SHA256["shapes"])
    networks = build_shapes()[0], build_reader()
    for network, which in zip(networks, ("generator/", "reader/"), strict=True):
        own = {key.removeprefix(which): value for key, value in stored.items() if key.startswith(which)}
        network.load_state_dict(own)
        network.eval().requires_grad_(False)
    return networks
