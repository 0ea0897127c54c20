"""The prior over codes: what it may see, that it is a distribution, and that sampling draws from it."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from genimg_ref.vae.prior import CodePrior, evaluate, log_likelihood, sample, train, update


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(classes=0, codes=5, shape=(3, 4), seed=0):
    prior = CodePrior(codes, shape, width=8, layers=2, heads=2, classes=classes, rng=seeded(seed)).double()
    with torch.no_grad():  # embeddings large enough for everything to show
        for weight in (prior.token.weight, prior.start.weight, prior.place):
            weight.normal_(generator=seeded(seed + 1))
    return prior


def draw_codes(count=2, codes=5, shape=(3, 4), seed=3):
    return torch.randint(0, codes, (count, *shape), generator=seeded(seed))


@pytest.mark.parametrize("place", range(12))
def test_a_code_changes_only_what_follows(place):
    prior, codes = small(), draw_codes()
    changed = codes.clone()
    changed[:, place // 4, place % 4] = (changed[:, place // 4, place % 4] + 1) % 5
    before, after = prior(codes).flatten(1, 2), prior(changed).flatten(1, 2)
    moved = (before != after).any(-1)
    assert not moved[:, : place + 1].any()
    assert moved[:, place + 1 :].all()


def test_logits_take_the_grid_s_shape():
    assert small()(draw_codes()).shape == (2, 3, 4, 5)


def test_the_probabilities_of_all_grids_add_up_to_one():
    prior = small(codes=3, shape=(2, 2))
    grids = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    assert_close(log_likelihood(prior, grids).logsumexp(0).item(), 0.0)


def test_log_likelihood_by_hand():
    prior, codes = small(), draw_codes()
    logits = prior(codes).log_softmax(-1)
    for b in range(2):
        expected = sum(logits[b, i, j, codes[b, i, j]] for i in range(3) for j in range(4))
        assert_close(log_likelihood(prior, codes)[b], expected)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampling_place_by_place_without_a_cache(classes, temperature):
    """The same draws from full passes, each over a grid whose later places are still zeros."""
    prior = small(classes)
    labels = torch.tensor([2, 0, 1, 2]) if classes else None
    drawn = sample(prior, 4, seeded(5), labels, temperature)
    rng, codes = seeded(5), torch.zeros(4, 3, 4, dtype=torch.long)
    for i in range(3):
        for j in range(4):
            probabilities = (prior(codes, labels)[:, i, j] / temperature).softmax(-1)
            codes[:, i, j] = torch.multinomial(probabilities, 1, generator=rng)[:, 0]
    assert torch.equal(drawn, codes)


def test_samples_have_the_prior_s_frequencies():
    prior = small(codes=2, shape=(1, 3))
    grids = torch.tensor(list(itertools.product(range(2), repeat=3))).view(-1, 1, 3)
    probability = log_likelihood(prior, grids).exp().detach()
    drawn = sample(prior, 20_000, seeded(1))
    index = (drawn.flatten(1) * torch.tensor([4, 2, 1])).sum(1)
    share = torch.bincount(index, minlength=8) / 20_000
    error = (probability * (1 - probability) / 20_000).sqrt()
    assert ((share - probability).abs() < 4 * error).all() and (probability > 0.02).sum() > 3


def test_sampling_is_the_generator_s():
    prior = small()
    state = torch.get_rng_state()
    assert torch.equal(sample(prior, 3, seeded(1)), sample(prior, 3, seeded(1)))
    assert not torch.equal(sample(prior, 3, seeded(1)), sample(prior, 3, seeded(2)))
    assert torch.equal(state, torch.get_rng_state())


def test_a_low_temperature_takes_the_likeliest_code():
    prior = small()
    drawn = sample(prior, 3, seeded(), temperature=1e-4)
    assert torch.equal(drawn, prior(drawn).argmax(-1))


def test_labels_change_the_first_place_and_stay_in_their_row():
    prior, codes = small(3), draw_codes(1).expand(3, -1, -1)
    logits = prior(codes, torch.tensor([0, 1, 2]))
    assert len(logits[:, 0, 0].unique(dim=0)) == 3
    assert_close(logits[1:2], prior(codes[:1], torch.tensor([1])))


@pytest.mark.parametrize("classes", [0, 3])
def test_training_learns_the_codes(classes):
    """Three grids, one for each label: found with their label, or with probability 1/3 each without."""
    grids = draw_codes(3)
    prior = CodePrior(5, (3, 4), width=16, layers=1, heads=2, classes=classes, rng=seeded())
    labels = torch.arange(30) % 3
    optimiser = torch.optim.Adam(prior.parameters(), 1e-2)
    given = labels if classes else None
    steps = list(
        train(
            prior, optimiser, grids[labels],
            steps=150, rng=seeded(), batch_size=16, labels=given, progress=False,
        )
    )  # fmt: skip
    assert steps[-1].number == 150 and steps[0].log_likelihood < -12
    value = evaluate(prior, grids, torch.arange(3) if classes else None).mean().item()
    floor = 0.0 if classes else -torch.tensor(3.0).log().item()
    assert floor - 0.5 < value <= floor + 0.05
    drawn = sample(prior, 30, seeded(1), given)
    found = (drawn[:, None] == grids).flatten(2).all(-1)
    assert found.any(1).float().mean() > 0.8
    if classes:
        assert found[torch.arange(30), labels].float().mean() > 0.8


def test_a_step_moves_every_weight():
    prior = small(3)
    before = [p.clone() for p in prior.parameters()]
    step = update(prior, torch.optim.SGD(prior.parameters(), 0.1), draw_codes(20), torch.arange(20) % 3)
    assert step.log_likelihood < 0
    assert all(not torch.equal(p, q) for p, q in zip(prior.parameters(), before, strict=True))


def test_initial_weights_follow_their_generator():
    first, second, other = (CodePrior(5, rng=seeded(seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["place"], other["place"])


def test_evaluation_in_parts():
    prior, codes = small(), draw_codes(1003)
    assert_close(evaluate(prior, codes)[700:702], log_likelihood(prior, codes[700:702]).detach())


def test_bad_input():
    with pytest.raises(ValueError, match=r"codes must have shape \(batch, \*\(3, 4\)\); got \(2, 4, 3\)"):
        small()(draw_codes(shape=(4, 3)))
    with pytest.raises(ValueError, match=r"heads divide width; got 5, \(7, 7\), 10, 3 and 4"):
        CodePrior(5, width=10)
    with pytest.raises(ValueError, match="labels must be given for 3 classes; got none"):
        small(3)(draw_codes())
    with pytest.raises(ValueError, match=r"labels must be None for 0 classes; got shape \(2,\)"):
        small()(draw_codes(), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must lie in 0 ... 2; got 3"):
        small(3)(draw_codes(), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="count must be 1 or more and temperature above 0; got 0 and 1"):
        sample(small(), 0, seeded())
    with pytest.raises(ValueError, match="temperature above 0; got 3 and 0"):
        sample(small(), 3, seeded(), temperature=0.0)
