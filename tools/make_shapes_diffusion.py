"""Train the embedded diffusion model of captioned colour scenes and write its weights and card.

    python tools/make_shapes_diffusion.py

It never meets the combinations in ``trained.HELD_OUT``. Scenes come from ``genimg_ref.data.shapes``; what it
paints is judged by the reader of ``tools/make_shapes_cgan.py``. Weights are stored as float16, and the card
says what was measured with the weights as they are stored. The checksum it prints belongs in
``genimg_ref/diffusion/trained.py``.
"""

import hashlib
import re
import time

import torch
from safetensors.torch import save
from torch import Tensor

from genimg_ref.data import shapes
from genimg_ref.diffusion import trained
from genimg_ref.diffusion.guidance import classifier_free
from genimg_ref.diffusion.loss import flow_matching_loss, uniform_times
from genimg_ref.diffusion.ode import heun
from genimg_ref.diffusion.sample import last
from genimg_ref.diffusion.schedule import shifted, straight
from genimg_ref.diffusion.text import tokenise
from genimg_ref.diffusion.unet import UNet
from genimg_ref.gan import trained as gans
from genimg_ref.train.ema import EMA
from genimg_ref.train.loop import run
from genimg_ref.train.muon import Muon

SEED, STEPS, SCENES, BATCH, DROPPED = 0, 13_000, 30_000, 16, 0.1
RATES = 0.04, 0.001  # of Muon for matrices, and of Adam for the rest
STEPS_OF_HEUN = 10  # two calls of the model each, but for the last; twice as many if guided
SCALES = (1.0, 2.0)
TARGET = trained.FILES / "trained_shapes.safetensors"

CARD = """\
# The diffusion model of captioned colour scenes

Weights of a U-Net and its caption encoder, loaded by `genimg_ref.diffusion.trained.load("shapes")`.
Made by `tools/make_shapes_diffusion.py`.

- **Trained on** {scenes:,} scenes of 32 x 32 from `genimg_ref.data.shapes`, without {held_out}; half of
  the captions shortened, {dropped:.0%} left out. Flow matching at times shifted by {shift:g} towards noise,
  {steps:,} steps of batches of {batch}, Muon with learning rates of {rates} falling to 0, average with 0.998;
  {minutes:.1f} minutes of one core of a shared CPU; seed {seed}, PyTorch {torch}.
- **Judged** by the reader of `genimg_ref.gan.trained.load_shapes()`: the share of samples in which it reads
  what the caption says. Heun's method, {heun} steps, the last of them Euler's, at times shifted in the same
  way; guidance scales {scales}.
- **300 captions** of combinations that were trained on, all five attributes right: {seen_all};
  each attribute at scale {scale}: {seen}.
- **200 captions of combinations never trained on**, all five right: {unseen_all}; at scale {scale}: {unseen}.
- **Size**: {size:,} bytes for {parameters:,} weights, float16.
- **SHA-256**: `{digest}`

For the course's demonstrations; not for anything else.
"""


def shortened(caption: str, keep: Tensor) -> str:
    """The caption with only those of size, colour, place and ground that ``keep`` names."""
    head, ground = caption.split(" on ")
    head, where = re.split(" (?=at|in)", head)
    article, size, colour, shape = head.split()
    parts = [article, size, colour, shape, where, f"on {ground}"]
    kept = [True, keep[0], keep[1], True, keep[2], keep[3]]
    return " ".join(part for part, wanted in zip(parts, kept, strict=True) if wanted)


def fit(rng: torch.Generator) -> UNet:
    scenes = shapes.sample(SCENES, rng=rng, exclude=trained.HELD_OUT)
    captions = shapes.captions(scenes.attributes)
    keep = torch.rand(SCENES, 4, generator=rng) < 0.5
    whole = tokenise(captions)
    partial = tokenise([shortened(caption, row) for caption, row in zip(captions, keep, strict=True)])
    model = trained.build("shapes", rng)
    optimiser = Muon(*model.hidden(), *RATES)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda n: min(1, n / 50) * (1 - n / STEPS))
    average = EMA(model, 0.998)

    def update(_: int) -> float:
        rows = torch.randint(SCENES, (BATCH,), generator=rng)
        choice = torch.rand(BATCH, 1, generator=rng)
        tokens = torch.where(choice < 0.5, partial[rows], whole[rows])
        tokens = torch.where(choice > 1 - DROPPED, model.null(BATCH), tokens)
        x0 = scenes.images[rows]
        noise = torch.randn(x0.shape, generator=rng)
        t = shifted(uniform_times(BATCH, rng), trained.SHIFT)
        loss = flow_matching_loss(model, x0, t, noise, tokens).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        average.update(model)
        return loss.item()

    for _ in run(update, steps=STEPS, describe="loss {:.3f}".format):
        pass
    return average.model


def paint(model: UNet, tokens: Tensor, scale: float, rng: torch.Generator) -> Tensor:
    """Heun's method from noise to images, guided."""
    times = shifted(torch.linspace(1, 0, STEPS_OF_HEUN + 1), trained.SHIFT)
    guided = classifier_free(model, tokens, model.null(1)[0], scale)
    noise = torch.randn(len(tokens), 3, 32, 32, generator=rng)
    return last(heun(guided, noise, times, straight, kind="velocity")).clamp(-1, 1)


def judge(model: UNet, attributes: Tensor, scale: float) -> tuple[str, float]:
    """How often the reader finds each attribute as asked for, in words, and how often all."""
    _, reader = gans.load_shapes()
    tokens = tokenise(shapes.captions(attributes))
    rng = torch.Generator().manual_seed(SEED + 1)
    images = torch.cat([paint(model, part, scale, rng) for part in tokens.split(250)])
    right = reader.read_labels(images) == attributes
    shares = right.double().mean(dim=0)
    words = ", ".join(f"{name} {share:.1%}" for name, share in zip(shapes.ATTRIBUTES, shares, strict=True))
    return words, right.all(dim=1).double().mean().item()


def main() -> None:
    torch.set_num_threads(1)
    start = time.process_time()
    model = fit(torch.Generator().manual_seed(SEED))
    minutes = (time.process_time() - start) / 60
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(save({name: value.half().contiguous() for name, value in model.state_dict().items()}))
    digest = hashlib.sha256(TARGET.read_bytes()).hexdigest()
    trained.SHA256["shapes"] = digest
    model = trained.load("shapes")
    rng = torch.Generator().manual_seed(SEED + 2)
    seen = shapes.sample(300, rng=rng, exclude=trained.HELD_OUT).attributes
    unseen = torch.cat([shapes.sample(100, rng=rng, only=phrase).attributes for phrase in trained.HELD_OUT])
    on_seen = {scale: judge(model, seen, scale) for scale in SCALES}
    on_unseen = {scale: judge(model, unseen, scale) for scale in SCALES}
    card = CARD.format(
        scenes=SCENES,
        held_out=" and ".join(f"any {phrase}" for phrase in trained.HELD_OUT),
        dropped=DROPPED,
        steps=STEPS,
        batch=BATCH,
        rates=" and ".join(f"{rate:g}" for rate in RATES),
        shift=trained.SHIFT,
        minutes=minutes,
        seed=SEED,
        torch=torch.__version__,
        heun=STEPS_OF_HEUN,
        scales=", ".join(f"{scale:g}" for scale in SCALES),
        scale=f"{SCALES[1]:g}",
        seen=on_seen[SCALES[1]][0],
        seen_all=", ".join(f"{share:.1%}" for _, share in on_seen.values()),
        unseen=on_unseen[SCALES[1]][0],
        unseen_all=", ".join(f"{share:.1%}" for _, share in on_unseen.values()),
        size=TARGET.stat().st_size,
        parameters=sum(p.numel() for p in model.parameters()),
        digest=digest,
    )
    TARGET.with_suffix(".md").write_text(card)
    print(card)


if __name__ == "__main__":
    main()
