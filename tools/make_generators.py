"""Train the embedded generators anew and write their weights and cards.

    python tools/make_generators.py NAME [NAME ...]

A NAME is one of ``MODELS`` below: ``mlp``, ``dcgan``. Each is trained three times, with the seeds 0, 1 and
2, on the embedded training images, as its chapter trains it at the budget ``book``; the last weights are
kept, and the test images have no say. Weights are stored as float16, and the card says what was measured
with the weights as they are stored. The same seed gives the same weights to the last bit only on the same
processor, number of threads (``OMP_NUM_THREADS``) and version of PyTorch; the checksum it prints belongs in
``genimg_ref/gan/trained.py``.
"""

import hashlib
import sys
import time

import torch
from safetensors.torch import save
from torch import Tensor, nn

from genimg_ref.data import fashion
from genimg_ref.gan import dcgan, trained
from genimg_ref.gan.losses import LOSSES
from genimg_ref.gan.mlp import MLPDiscriminator
from genimg_ref.gan.steps import update_d, update_g
from genimg_ref.metrics.features import FashionClassifier
from genimg_ref.metrics.fid import frechet_distance_of
from genimg_ref.train.ema import EMA
from genimg_ref.train.loop import minibatch, run

COUNT = 5000

CARD = """\
# The generators `{name}`

Weights of {what}, loaded by `genimg_ref.gan.trained.load("{name}", seed)`. Made by
`tools/make_generators.py {name}`.

- **Trained on** the {images:,} training images of Fashion-MNIST (MIT licence) that come with the package.
- **Budget**: {budget}, as in the chapter `{chapter}`; {minutes} minutes for
  the seeds 0, 1, 2 on a shared two-core CPU; PyTorch {torch}.
- **Fréchet distance** on the features `{extractor}`, {count:,} samples against the {count:,} embedded test
  images: {distances} for the seeds 0, 1, 2. The same for {count:,} training images: {floor:.2f}.
- **Size**: {size:,} bytes for three networks of {parameters:,} weights each, float16.
- **SHA-256**: `{digest}`

For the course's comparisons; not for anything else.
"""


def train_mlp(seed: int, images: Tensor) -> nn.Module:
    """The fully connected GAN of the chapter gan_math."""
    torch.manual_seed(seed)  # for its weights and its dropout
    rng = torch.Generator().manual_seed(seed)
    generator = trained.build("mlp")
    discriminator = MLPDiscriminator(hidden=(256, 128))
    opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    rounds = 5000
    decay = [torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.05, rounds) for o in (opt_d, opt_g)]

    def update(_: int) -> None:
        loss = LOSSES["non_saturating"]
        z, z2 = torch.randn(2, 32, 64, generator=rng)
        update_d(generator, discriminator, opt_d, minibatch(images, 32, rng), z, loss)
        update_g(generator, discriminator, opt_g, z2, loss)
        for schedule in decay:
            schedule.step()

    for _ in run(update, steps=rounds, describe=lambda _: ""):
        pass
    return generator


def train_dcgan(seed: int, images: Tensor) -> nn.Module:
    """The main run of the chapter dcgan: the averaged generator."""
    rng = torch.Generator().manual_seed(seed)
    generator, discriminator = trained.build("dcgan"), dcgan.Discriminator(28, 48)
    for net in (generator, discriminator):
        dcgan.init_weights(net, rng).to(memory_format=torch.channels_last)
    g_optimiser, d_optimiser = (
        torch.optim.Adam(net.parameters(), 2e-3, betas=(0.5, 0.999)) for net in (generator, discriminator)
    )
    average = EMA(generator, 0.998)
    nets = generator, discriminator, g_optimiser, d_optimiser
    for _ in dcgan.train(*nets, images, steps=2000, rng=rng, ema=average):
        pass
    return average.model


MODELS = {
    "mlp": (train_mlp, "the fully connected GAN", "gan_math", "5,000 rounds of batches of 32"),
    "dcgan": (train_dcgan, "the DCGAN, averaged", "dcgan", "2,000 steps of batches of 64"),
}


@torch.no_grad()
def sample(name: str, seed: int) -> Tensor:
    """What the stored weights make of latent vectors that training has not seen."""
    z = dcgan.sample_latent(COUNT, 64, torch.Generator().manual_seed(1000 + seed))
    generator = trained.load(name, seed)
    return torch.cat([generator(part) for part in z.split(500)])


def main(name: str) -> None:
    train, what, chapter, budget = MODELS[name]
    images = fashion.load("train").images
    stored, minutes, parameters = {}, [], 0
    for seed in trained.SEEDS:
        start = time.perf_counter()
        generator = train(seed, images)
        minutes.append((time.perf_counter() - start) / 60)
        parameters = sum(p.numel() for p in generator.parameters())
        for key, value in generator.state_dict().items():
            half = value.half() if value.is_floating_point() else value
            stored[f"{seed}/{key}"] = half.contiguous()

    target = trained.FILES / f"trained_{name}.safetensors"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(save(stored))
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    trained.SHA256[name] = digest
    extract = FashionClassifier()
    real = extract(fashion.load("test").images)
    distances = [frechet_distance_of(real, extract(sample(name, seed))) for seed in trained.SEEDS]
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:COUNT]
    card = CARD.format(
        name=name,
        what=what,
        chapter=chapter,
        budget=budget,
        images=len(images),
        minutes=", ".join(f"{m:.1f}" for m in minutes),
        torch=torch.__version__,
        extractor=extract.name,
        count=COUNT,
        distances=", ".join(f"{d:.2f}" for d in distances),
        floor=frechet_distance_of(real, extract(images[rows])),
        size=target.stat().st_size,
        parameters=parameters,
        digest=digest,
    )
    target.with_suffix(".md").write_text(card)
    print(card)


if __name__ == "__main__":
    if not sys.argv[1:] or not set(sys.argv[1:]) <= set(MODELS):
        sys.exit(__doc__)
    for name in sys.argv[1:]:
        main(name)
