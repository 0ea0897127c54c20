"""One step by hand, where conditions go, that a model learns, and what a run repeats."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from genimg_ref.diffusion.edm import Preconditioned, edm_loss, log_normal_sigmas
from genimg_ref.diffusion.forward import noise_like
from genimg_ref.diffusion.loss import (
    flow_matching_loss,
    logit_normal_times,
    min_snr_weight,
    simple_loss,
    step_times,
)
from genimg_ref.diffusion.schedule import Discrete, cosine_betas
from genimg_ref.diffusion.train import (
    DiffusionStep,
    ddpm_objective,
    drop_condition,
    edm_objective,
    flow_objective,
    train,
    update,
)
from genimg_ref.train import checkpoint
from genimg_ref.train.ema import EMA

SCHEDULE = Discrete(cosine_betas(20))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Small(nn.Module):
    """A network of vectors of two numbers; labels, if any, move its answer."""

    def __init__(self, classes=0, width=16):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, 2))
        self.table = nn.Embedding(classes, 2) if classes else None
        self.seen = []
        for index, parameter in enumerate(self.parameters()):
            with torch.no_grad():
                parameter.normal_(0, 0.3, generator=seeded(index))

    def forward(self, x, t, labels=None):
        self.seen.append((x, t, labels))
        out = self.body(torch.cat([x, t[:, None]], dim=1))
        return out if self.table is None else out + self.table(labels)


def data(count=40):
    return torch.randn(count, 2, generator=seeded(7)) * 0.1 + torch.tensor([0.5, -0.5])


def test_ddpm_objective_draws_steps_then_noise():
    model, x0 = Small(), data(6)
    rng = seeded(1)
    t = step_times(6, 20, rng)
    expected = simple_loss(model, x0, t, noise_like(x0, rng), SCHEDULE, "v")
    assert_close(ddpm_objective(SCHEDULE, "v")(model, x0, seeded(1), None), expected)
    weighted = ddpm_objective(SCHEDULE, "v", lambda level: min_snr_weight(level, "v"))
    assert_close(weighted(model, x0, seeded(1), None), expected * min_snr_weight(SCHEDULE(t), "v"))


def test_flow_and_edm_objectives():
    model, x0 = Small(), data(6)
    rng = seeded(1)
    t = logit_normal_times(6, rng)
    expected = flow_matching_loss(model, x0, t, noise_like(x0, rng))
    assert_close(flow_objective(logit_normal_times)(model, x0, seeded(1), None), expected)
    wrapped, rng = Preconditioned(model, 0.3), seeded(1)
    sigma = log_normal_sigmas(6, rng, mean=-2.0, std=0.7)
    expected = edm_loss(wrapped, x0, sigma, noise_like(x0, rng), 0.3)
    assert_close(edm_objective(0.3, -2.0, 0.7)(wrapped, x0, seeded(1), None), expected)


def test_update_is_one_step_of_the_optimiser():
    """Plain gradient descent on the objective's mean, against a second model moved by hand."""
    x0, objective = data(6), ddpm_objective(SCHEDULE)
    one, two = Small(), Small()
    step = update(one, torch.optim.SGD(one.parameters(), 0.1), x0, seeded(3), objective=objective, number=5)
    loss = objective(two, x0, seeded(3), None).mean()
    loss.backward()
    assert step == DiffusionStep(5, loss.item())
    for moved, before in zip(one.parameters(), two.parameters(), strict=True):
        assert_close(moved, before - 0.1 * before.grad)


def test_long_gradients_are_shortened():
    one, two = Small(), Small()
    update(
        one, torch.optim.SGD(one.parameters(), 1.0), data(6), seeded(3),
        objective=ddpm_objective(SCHEDULE), max_norm=0.01,
    )  # fmt: skip
    moves = [(a - b).flatten() for a, b in zip(one.parameters(), two.parameters(), strict=True)]
    assert_close(torch.cat(moves).norm().item(), 0.01, rtol=1e-3, atol=0)


def test_conditions_are_dropped_at_their_rate():
    labels = torch.arange(5).repeat(4000)
    dropped = drop_condition(labels, 5, 0.2, seeded())
    gone = dropped == 5
    assert_close(gone.float().mean().item(), 0.2, rtol=0, atol=0.015)
    assert torch.equal(dropped[~gone], labels[~gone]) and labels.max() == 4
    assert torch.equal(drop_condition(labels, 5, 0.0, seeded()), labels)
    assert (drop_condition(labels, 5, 1.0, seeded()) == 5).all()
    text, none = torch.ones(200, 3, 4), torch.zeros(3, 4)
    rows = drop_condition(text, none, 0.5, seeded()).flatten(1)
    assert {tuple(row) for row in rows.tolist()} == {(0.0,) * 12, (1.0,) * 12}
    with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\]; got 1.5"):
        drop_condition(labels, 5, 1.5, seeded())


@pytest.mark.parametrize(
    "missing, options", [("condition", {"null": 3}), ("null", {"condition": torch.zeros(6).long()})]
)
def test_dropping_needs_a_condition_and_a_null(missing, options):
    model = Small(4)
    with pytest.raises(ValueError, match=f"{missing} must be given where drop is above 0; got None"):
        update(
            model, torch.optim.SGD(model.parameters(), 0.1), data(6), seeded(),
            objective=ddpm_objective(SCHEDULE), drop=0.1, **options,
        )  # fmt: skip


def test_labels_stay_with_their_images():
    """Image k has the value k everywhere, and nearly no noise is added."""
    images = torch.arange(5.0)[:, None].expand(-1, 2)
    model = Small(6)
    list(
        train(
            model, torch.optim.SGD(model.parameters(), 1e-6), images, steps=4, rng=seeded(), batch_size=50,
            objective=ddpm_objective(Discrete(torch.tensor([1e-6]))), condition=torch.arange(5),
            drop=0.3, null=5, progress=False,
        )
    )  # fmt: skip
    for x, t, labels in model.seen:
        kept = labels < 5
        assert 0 < kept.sum() < 50 and (t == 1).all()
        assert_close(x[kept].mean(1), labels[kept].float(), rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["ddpm", "flow", "edm"])
def test_training_lowers_the_loss(name):
    objective = {"ddpm": ddpm_objective(SCHEDULE), "flow": flow_objective(), "edm": edm_objective()}[name]
    model = Preconditioned(Small()) if name == "edm" else Small()
    before = objective(model, data().repeat(50, 1), seeded(5), None).mean().item()
    steps = list(
        train(
            model, torch.optim.Adam(model.parameters(), 1e-2), data(),
            steps=150, rng=seeded(), objective=objective, progress=False,
        )
    )  # fmt: skip
    after = objective(model, data().repeat(50, 1), seeded(5), None).mean().item()
    assert after < 0.75 * before
    assert [step.number for step in steps] == list(range(1, 151))


def test_each_batch_is_prepared_and_the_average_follows():
    model = Small()
    ema = EMA(model, 0.5)
    seen = []

    def prepare(batch, rng):
        seen.append(batch)
        return 0 * batch

    for step in train(
        model, torch.optim.SGD(model.parameters(), 0.1), data(), steps=3, rng=seeded(), batch_size=4,
        objective=flow_objective(lambda count, rng, device: torch.zeros(count)), prepare=prepare, ema=ema,
        progress=False,
    ):  # fmt: skip
        assert ema.updates == step.number
        assert (model.seen[-1][0] == 0).all()
    assert len(seen) == 3 and not torch.equal(seen[0], seen[1])


class Run:
    """Everything that a checkpoint has to carry."""

    def __init__(self, seed):
        self.rng, self.model = seeded(seed), Small(6)
        self.optimiser, self.ema = torch.optim.Adam(self.model.parameters(), 1e-3), EMA(self.model, 0.9)

    def train(self, steps, start=0):
        return list(
            train(
                self.model, self.optimiser, data(), steps=steps, rng=self.rng, batch_size=6, start=start,
                objective=ddpm_objective(SCHEDULE), condition=torch.arange(40) % 5, drop=0.2, null=5,
                ema=self.ema, progress=False,
            )
        )  # fmt: skip

    def parts(self):
        return {"model": self.model, "ema": self.ema, "optimiser": self.optimiser}


def test_a_resumed_run_ends_at_the_same_bits(tmp_path):
    whole, first, second = Run(0), Run(0), Run(1)
    told = whole.train(7)
    first.train(3)
    checkpoint.save(tmp_path / "run.pt", step=3, rng=first.rng, **first.parts())
    start = checkpoint.load(tmp_path / "run.pt", rng=second.rng, **second.parts())
    assert second.train(7, start) == told[3:]
    for part in ("model", "ema"):
        states = [getattr(run, part).state_dict() for run in (whole, second)]
        if part == "ema":
            states = [state["model"] for state in states]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_global_state_is_left_alone():
    run = Run(0)
    before = torch.get_rng_state()
    run.train(2)
    assert torch.equal(before, torch.get_rng_state())
