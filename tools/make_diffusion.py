"""Train the embedded diffusion model of garments and write its weights and card.

    python tools/make_diffusion.py

It is trained on the embedded training images of Fashion-MNIST with their labels, of which a tenth is left
out; the last averaged weights are kept, and the test images have no say. Weights are stored as float16, and
the card says what was measured with the weights as they are stored. The checksum it prints belongs in
``genimg_ref/diffusion/trained.py``.
"""

import hashlib
import time

import torch
from safetensors.torch import save
from torch import Tensor

from genimg_ref.data import fashion
from genimg_ref.diffusion import trained
from genimg_ref.diffusion.guidance import classifier_free
from genimg_ref.diffusion.ode import heun
from genimg_ref.diffusion.sample import last
from genimg_ref.diffusion.schedule import straight
from genimg_ref.diffusion.train import flow_objective, train
from genimg_ref.diffusion.unet import UNet
from genimg_ref.metrics.features import FashionClassifier
from genimg_ref.metrics.fid import frechet_distance_of
from genimg_ref.train.ema import EMA
from genimg_ref.train.muon import Muon

SEED, STEPS, BATCH, RATE, DROPPED = 0, 3000, 16, 0.04, 0.1
NULL = 10  # the label that stands for any
STEPS_OF_HEUN = 10  # two calls of the model each, but for the last
COUNT = 2500
SCALES = (1.0, 2.0)
TARGET = trained.FILES / "trained_fashion.safetensors"

CARD = """\
# The diffusion model of garments

Weights of a U-Net, loaded by `genimg_ref.diffusion.trained.load("fashion")`. Made by
`tools/make_diffusion.py`.

- **Trained on** the {images:,} training images of Fashion-MNIST (MIT licence) that come with the package, and
  their labels, {dropped:.0%} left out. Flow matching, {steps:,} steps of batches of {batch}, Muon with a
  learning rate of {rate} falling to 0, average with 0.998; {minutes:.1f} minutes of one core of a shared
  CPU; seed {seed}, PyTorch {torch}.
- **Fréchet distance** on the features `{extractor}`, {count:,} samples against {count:,} embedded test
  images, those of the chapter `metrics`: {unconditional:.2f} with the null label; with labels {distances}
  at the guidance scales {scales}. The same for {count:,} training images: {floor:.2f}. Heun's method,
  {heun} steps, the last of them Euler's.
- **Labels** that the course's classifier reads as asked for: {accuracies}; in test images: {accuracy:.1%}.
- **Size**: {size:,} bytes for {parameters:,} weights, float16.
- **SHA-256**: `{digest}`

For the course's comparisons; not for anything else.
"""


def fit(rng: torch.Generator) -> UNet:
    data = fashion.load("train")
    model = trained.build("fashion", rng)
    optimiser = Muon(*model.hidden(), RATE, RATE / 4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda n: min(1, n / 30) * (1 - n / STEPS))
    average = EMA(model, 0.998)
    settings = {"batch_size": BATCH, "condition": data.labels, "drop": DROPPED, "null": NULL}
    for _ in train(
        model,
        optimiser,
        data.images,
        steps=STEPS,
        rng=rng,
        objective=flow_objective(),
        ema=average,
        **settings,
    ):
        schedule.step()
    return average.model


def sample(model: UNet, labels: Tensor | None, scale: float = 1.0) -> Tensor:
    """One image for each label, or ``COUNT`` of any, by Heun's method, guided."""
    rng = torch.Generator().manual_seed(SEED + 1)
    labels = model.null(COUNT) if labels is None else labels
    times = torch.linspace(1, 0, STEPS_OF_HEUN + 1)
    parts = []
    for told in labels.split(250):
        guided = classifier_free(model, told, NULL, scale)
        noise = torch.randn(len(told), 1, 28, 28, generator=rng)
        parts.append(last(heun(guided, noise, times, straight, kind="velocity")).clamp(-1, 1))
    return torch.cat(parts)


def main() -> None:
    torch.set_num_threads(1)
    start = time.process_time()
    model = fit(torch.Generator().manual_seed(SEED))
    minutes = (time.process_time() - start) / 60
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(save({name: value.half().contiguous() for name, value in model.state_dict().items()}))
    digest = hashlib.sha256(TARGET.read_bytes()).hexdigest()
    trained.SHA256["fashion"] = digest
    model = trained.load("fashion")
    extract = FashionClassifier()
    training, test = fashion.load("train"), fashion.load("test")
    held_out = torch.randperm(len(test.images), generator=torch.Generator().manual_seed(0))[:COUNT]
    rows = torch.randperm(len(training.images), generator=torch.Generator().manual_seed(0))[:COUNT]
    real, labels = extract(test.images[held_out]), torch.arange(COUNT) % 10

    def distance(images: Tensor) -> float:
        return frechet_distance_of(real, extract(images))

    def accuracy(images: Tensor, labels: Tensor) -> float:
        return (extract.logits(images).argmax(dim=1) == labels).double().mean().item()

    told = {scale: sample(model, labels, scale) for scale in SCALES}
    card = CARD.format(
        images=len(training.images),
        dropped=DROPPED,
        steps=STEPS,
        batch=BATCH,
        rate=RATE,
        minutes=minutes,
        seed=SEED,
        torch=torch.__version__,
        extractor=extract.name,
        count=COUNT,
        unconditional=distance(sample(model, None)),
        distances=", ".join(f"{distance(images):.2f}" for images in told.values()),
        scales=", ".join(f"{scale:g}" for scale in SCALES),
        floor=distance(training.images[rows]),
        heun=STEPS_OF_HEUN,
        accuracies=", ".join(f"{accuracy(images, labels):.1%}" for images in told.values()),
        accuracy=accuracy(test.images, test.labels),
        size=TARGET.stat().st_size,
        parameters=sum(p.numel() for p in model.parameters()),
        digest=digest,
    )
    TARGET.with_suffix(".md").write_text(card)
    print(card)


if __name__ == "__main__":
    main()
