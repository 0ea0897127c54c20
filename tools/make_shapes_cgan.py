"""Train the embedded conditional GAN of colour scenes, and the network that reads its images.

    python tools/make_shapes_cgan.py

The generator never meets the combinations in ``trained.HELD_OUT``; the reader, which judges it, meets all.
Both draw their scenes from ``genimg_ref.data.shapes``. Weights are stored as float16, and the card says what
was measured with the weights as they are stored. The checksum it prints belongs in
``genimg_ref/gan/trained.py``.
"""

import hashlib
import time

import torch
from safetensors.torch import save
from torch import Tensor, nn

from genimg_ref.data import shapes
from genimg_ref.gan import cgan, trained
from genimg_ref.train.ema import EMA
from genimg_ref.train.loop import run

SEED, STEPS, READER_STEPS, SCENES, BATCH = 0, 4000, 800, 30_000, 64
TARGET = trained.FILES / "trained_shapes.safetensors"

CARD = """\
# The conditional GAN of colour scenes, and its reader

Weights of two networks, loaded by `genimg_ref.gan.trained.load_shapes()`.
Made by `tools/make_shapes_cgan.py`.

- **Generator**: {scenes:,} scenes of 32 x 32 from `genimg_ref.data.shapes`, without {held_out};
  {steps:,} steps of batches of {batch}, learning rate 0.002, average with 0.999, {minutes:.1f} minutes on one
  core of a shared CPU; seed {seed}, PyTorch {torch}.
- **Reader**: a discriminator with an auxiliary classifier, of which only the classifier was trained,
  {reader_steps:,} steps on fresh scenes of all combinations.
- **The reader on 5,000 fresh scenes** reads rightly: {reader}; all five: {reader_all:.1%}.
- **What it reads in 5,000 samples** of combinations that were trained on: {seen}; all five: {seen_all:.1%}.
- **In 1,000 samples of combinations never trained on**: {unseen}; all five: {unseen_all:.1%}.
- **Size**: {size:,} bytes, float16.
- **SHA-256**: `{digest}`
"""


def fit_generator(rng: torch.Generator) -> nn.Module:
    scenes = shapes.sample(SCENES, rng=rng, exclude=trained.HELD_OUT)
    generator, discriminator = trained.build_shapes()
    for net in (generator, discriminator):
        cgan.init_weights(net, rng).to(memory_format=torch.channels_last)
    g_optimiser, d_optimiser = (
        torch.optim.Adam(net.parameters(), 2e-3, betas=(0.5, 0.999)) for net in (generator, discriminator)
    )
    average = EMA(generator, 0.999)
    nets = generator, discriminator, g_optimiser, d_optimiser
    data = scenes.images, scenes.attributes
    for _ in cgan.train(*nets, *data, steps=STEPS, rng=rng, batch_size=BATCH, ema=average):
        pass
    return average.model


def fit_reader(rng: torch.Generator) -> nn.Module:
    reader = trained.build_reader()
    cgan.init_weights(reader, rng).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(reader.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, READER_STEPS)

    def update(_: int) -> float:
        scenes = shapes.sample(128, rng=rng)
        loss = reader.judge(scenes.images, scenes.attributes).label_loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        return loss.item()

    for _ in run(update, steps=READER_STEPS, describe="loss {:.3f}".format):
        pass
    return reader.eval()


def shares(reader: nn.Module, images: Tensor, attributes: Tensor) -> tuple[str, float]:
    """How often each attribute is read rightly, in words, and how often all are."""
    with torch.no_grad():
        right = torch.cat([reader.read_labels(part) for part in images.split(500)]) == attributes
    means = right.double().mean(dim=0)
    words = ", ".join(f"{name} {share:.1%}" for name, share in zip(shapes.ATTRIBUTES, means, strict=True))
    return words, right.all(dim=1).double().mean().item()


def main() -> None:
    torch.set_num_threads(1)
    start = time.perf_counter()
    generator = fit_generator(torch.Generator().manual_seed(SEED))
    minutes = (time.perf_counter() - start) / 60
    nets = {"generator": generator, "reader": fit_reader(torch.Generator().manual_seed(SEED + 1))}
    stored = {
        f"{which}/{key}": (value.half() if value.is_floating_point() else value).contiguous()
        for which, net in nets.items()
        for key, value in net.state_dict().items()
    }
    TARGET.write_bytes(save(stored))
    digest = hashlib.sha256(TARGET.read_bytes()).hexdigest()
    trained.SHA256["shapes"] = digest
    generator, reader = trained.load_shapes()
    rng = torch.Generator().manual_seed(SEED + 2)
    fresh = shapes.sample(5000, rng=rng)
    found, found_all = shares(reader, fresh.images, fresh.attributes)
    seen = shapes.sample(5000, rng=rng, exclude=trained.HELD_OUT).attributes
    unseen = torch.cat([shapes.sample(500, rng=rng, only=phrase).attributes for phrase in trained.HELD_OUT])
    on_seen, on_seen_all = shares(reader, cgan.sample(generator, seen, rng), seen)
    on_unseen, on_unseen_all = shares(reader, cgan.sample(generator, unseen, rng), unseen)
    card = CARD.format(
        scenes=SCENES,
        held_out=" and ".join(f"any {phrase}" for phrase in trained.HELD_OUT),
        steps=STEPS,
        batch=BATCH,
        minutes=minutes,
        seed=SEED,
        torch=torch.__version__,
        reader_steps=READER_STEPS,
        reader=found,
        reader_all=found_all,
        seen=on_seen,
        seen_all=on_seen_all,
        unseen=on_unseen,
        unseen_all=on_unseen_all,
        size=TARGET.stat().st_size,
        digest=digest,
    )
    TARGET.with_suffix(".md").write_text(card)
    print(card)


if __name__ == "__main__":
    main()
