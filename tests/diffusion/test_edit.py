"""SDEdit keeps what noise leaves; inpainting keeps what is known, and the rest comes to fit it."""

import pytest
import torch
from torch.testing import assert_close

from genimg_ref.diffusion.edit import inpaint, merge, sdedit, times_below
from genimg_ref.diffusion.oracle import GaussianMixture
from genimg_ref.diffusion.sample import State, ancestral, ddim, last
from genimg_ref.diffusion.schedule import Discrete, cosine_betas, straight, vp_cosine

D = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=D)


def test_sdedit_starts_at_its_strength():
    """What the sampler is handed: the image at that time's level, and the times from there on."""
    image, times = 3 * torch.ones(20_000, 2, dtype=D), torch.linspace(1, 0, 11, dtype=D)
    (x, rest), *_ = (sdedit(lambda *handed: iter([handed]), image, times, straight, seeded(), 0.45),)[0]
    assert_close(rest, torch.linspace(0.4, 0, 5, dtype=D))
    assert_close(x.mean(0), torch.full((2,), 0.6 * 3, dtype=D), rtol=0, atol=0.02)
    assert_close(x.std(0), torch.full((2,), 0.4, dtype=D), rtol=0.03, atol=0)


def test_sdedit_keeps_less_the_stronger_it_is(mixture):
    model, times = mixture.model(vp_cosine), torch.linspace(0.98, 0, 50, dtype=D)
    image = torch.tensor([[-1.6, 0.0]], dtype=D).expand(500, -1)

    def sampler(x, times):
        return ddim(model, x, times, vp_cosine)

    moved, likely = [], []
    for strength in (0.1, 0.4, 0.9):
        drawn = last(sdedit(sampler, image, times, vp_cosine, seeded(), strength))
        moved.append((drawn - image).norm(dim=1).mean().item())
        likely.append(mixture.log_prob(drawn, vp_cosine(torch.tensor(0.0, dtype=D))).mean().item())
    assert moved[0] < moved[1] - 0.1 < moved[2] - 0.5
    assert likely[0] < likely[1] - 0.1
    before = mixture.log_prob(image[:1], vp_cosine(torch.tensor(0.0, dtype=D))).item()
    assert before < likely[0]


def test_merge():
    known, made = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    mask = torch.tensor([[1.0, 0.0], [0.25, 0.0]])[None, None]
    assert_close(merge(known, made, mask), mask.expand(2, -1, -1, -1))
    assert_close(merge(made, known, mask), 1 - mask.expand(2, -1, -1, -1))


def correlated(count=11):
    """Two coordinates that are nearly equal: points along the diagonal."""
    line = torch.linspace(-1, 1, count, dtype=D)
    return GaussianMixture(torch.stack([line, line], dim=1), 0.05)


def fill(resample, value=0.6, count=400, seed=1):
    """The first coordinate is known; the second should come out as its equal."""
    schedule = Discrete(cosine_betas(30))
    image = torch.tensor([[value, -9.0]], dtype=D).expand(count, -1)
    mask = torch.tensor([[1.0, 0.0]], dtype=D)
    states = inpaint(
        correlated().model(schedule), image, mask, normal(count, 2), schedule.times(), schedule,
        seeded(seed), resample=resample,
    )  # fmt: skip
    return last(states)


def test_the_known_part_stays():
    x = fill(1)
    assert_close(x[:, 0], torch.full((400,), 0.6, dtype=D))
    assert x[:, 1].abs().max() < 1.5  # what stood in the hole is not used


def test_resampling_makes_the_parts_fit():
    once, often = ((fill(n)[:, 1] - 0.6).abs().mean().item() for n in (1, 8))
    assert often < 0.6 * once
    assert often < 0.2


def test_with_nothing_known_it_is_ancestral(network):
    """The same noise, apart from that for the known part: compared where no noise is drawn at all."""
    schedule, x = Discrete(cosine_betas(30)), normal(2, 3)
    image, asked = normal(2, 3, seed=1), []

    def model(x, t):
        asked.append(t[0].item())
        return network(x, t)

    (state,) = inpaint(
        model, image, torch.zeros(1, 1, dtype=D), x, torch.tensor([0.5, 0.0]), schedule, seeded(), resample=3
    )
    (plain,) = ancestral(network, x, torch.tensor([0.5, 0.0]), schedule, seeded())
    assert isinstance(state, State)
    assert_close(state.x, plain.x)
    assert_close(state.x0, plain.x0)
    assert asked == [0.5]
    asked.clear()
    list(
        inpaint(model, image, torch.ones(2, 3, dtype=D), x, schedule.times(3), schedule, seeded(), resample=3)
    )
    assert len(asked) == 3 + 3 + 1


def test_randomness_is_the_generator_s():
    assert torch.equal(fill(2, count=3), fill(2, count=3))
    assert not torch.equal(fill(2, count=3), fill(2, count=3, seed=2))


def test_bad_input_is_named(network):
    x, times = normal(2, 3), torch.linspace(1, 0, 5)
    with pytest.raises(ValueError, match=r"strength must leave 2 or more of the times.*got 0.1"):
        times_below(times, 0.1)
    mask = torch.ones(1, 1, dtype=D)
    with pytest.raises(ValueError, match="resample must be 1 or more; got 0"):
        inpaint(network, x, mask, x, times, straight, seeded(), resample=0)
    with pytest.raises(ValueError, match=r"mask must lie in \[0, 1\], 1 where known; got 255 to 255"):
        inpaint(network, x, 255 * mask, x, times, straight, seeded())
