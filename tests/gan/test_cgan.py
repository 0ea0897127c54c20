import pytest
import torch
import torch.nn.functional as F

from genimg_ref.gan import cgan
from genimg_ref.gan.dcgan import sample_latent
from genimg_ref.train.ema import EMA

G_WAYS = ("concat", "embed", "batch_norm")
D_WAYS = ("concat", "embed", "projection", "auxiliary")
each_g = pytest.mark.parametrize("g_way", G_WAYS)
each_d = pytest.mark.parametrize("d_way", D_WAYS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(g_way="batch_norm", d_way="projection", classes=5, size=28, colours=1):
    rng = seeded()
    generator = cgan.Generator(classes, size, latent=6, channels=4, image_channels=colours, condition=g_way)
    discriminator = cgan.Discriminator(classes, size, 4, colours, condition=d_way)
    return cgan.init_weights(generator, rng), cgan.init_weights(discriminator, rng)


def adam(net):
    return torch.optim.Adam(net.parameters(), 1e-2)


def data(count=12, classes=5, size=28, colours=1):
    images = torch.rand(count, colours, size, size, generator=seeded(1)) * 2 - 1
    return images, torch.randint(classes, (count,), generator=seeded(2))


@each_g
@each_d
@pytest.mark.parametrize(("size", "colours", "classes"), [(28, 1, 5), (32, 3, (3, 2))])
def test_one_model_serves_both_sizes_colours_and_attributes(g_way, d_way, size, colours, classes):
    generator, discriminator = small(g_way, d_way, classes, size, colours)
    labels = torch.tensor([1, 0, 2]) if isinstance(classes, int) else torch.tensor([[1, 0], [0, 1], [2, 1]])
    images = generator(sample_latent(3, 6, seeded()), labels)
    assert images.shape == (3, colours, size, size) and images.abs().max() <= 1
    assert discriminator(images, labels).shape == (3,)


@each_g
def test_the_label_changes_the_image(g_way):
    generator, _ = small(g_way)
    with torch.no_grad():  # gains and shifts start alike
        for parameter in generator.parameters():
            parameter.normal_(0, 0.3, generator=seeded(3))
    generator.eval()
    z = sample_latent(1, 6, seeded())
    assert not torch.allclose(generator(z, torch.tensor([0])), generator(z, torch.tensor([1])), atol=1e-3)


@each_d
def test_the_label_changes_the_logit_of_all_but_the_auxiliary(d_way):
    _, discriminator = small(d_way=d_way)
    images, _ = data(4)
    one, other = (discriminator.eval()(images, torch.full((4,), k)) for k in (0, 1))
    assert torch.allclose(one, other) == (d_way == "auxiliary")


def test_the_projection_logit_splits_into_two_parts():
    """Equation 3 of Miyato and Koyama by hand: psi(phi(x)) + <e(y), phi(x)>."""
    _, discriminator = small()
    images, labels = data(5)
    features = discriminator.eval().net.layers[:-1](images)
    convolution = discriminator.net.layers[-1][0]
    psi = (features * convolution.weight).sum(dim=(1, 2, 3)) + convolution.bias
    rows = discriminator.embed.weight[labels].view_as(features)
    product = torch.einsum("bchw,bchw->b", rows, features)
    torch.testing.assert_close(discriminator(images, labels), psi + product, rtol=1e-4, atol=1e-5)


def test_a_difference_of_two_labels_is_linear_in_the_features():
    _, discriminator = small()
    images, _ = data(5)
    discriminator.eval()
    zero, three = torch.zeros(5, dtype=torch.long), torch.full((5,), 3)
    step = discriminator.embed.weight[3] - discriminator.embed.weight[0]
    expected = discriminator.net.layers[:-1](images).flatten(1) @ step
    gap = discriminator(images, three) - discriminator(images, zero)
    torch.testing.assert_close(gap, expected, rtol=1e-4, atol=1e-5)


def test_the_label_loss_is_cross_entropy():
    _, discriminator = small(d_way="auxiliary")
    images, labels = data(6)
    scores = discriminator.read(discriminator.eval().net.layers[:-1](images)).flatten(1)
    expected = F.cross_entropy(scores, labels)
    torch.testing.assert_close(discriminator.judge(images, labels).label_loss, expected)
    assert torch.equal(discriminator.read_labels(images), scores.argmax(dim=1))


def test_the_label_loss_of_attributes_is_a_sum_of_cross_entropies():
    _, discriminator = small(d_way="auxiliary", classes=(3, 4), size=32, colours=3)
    images, _ = data(6, size=32, colours=3)
    labels = torch.stack([torch.arange(6) % 3, torch.arange(6) % 4], dim=1)
    scores = discriminator.read(discriminator.eval().net.layers[:-1](images)).flatten(1)
    expected = F.cross_entropy(scores[:, :3], labels[:, 0]) + F.cross_entropy(scores[:, 3:], labels[:, 1])
    torch.testing.assert_close(discriminator.judge(images, labels).label_loss, expected)
    read = torch.stack([scores[:, :3].argmax(1), scores[:, 3:].argmax(1)], dim=1)
    assert torch.equal(discriminator.read_labels(images), read)


@each_d
def test_a_discriminators_step_moves_it_alone(d_way):
    generator, discriminator = small(d_way=d_way)
    kept = [p.clone() for p in generator.parameters()]
    old = [p.clone() for p in discriminator.parameters()]
    images, labels = data()
    z, asked = sample_latent(7, 6, seeded()), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    step = cgan.update_d(generator, discriminator, adam(discriminator), images, labels, z, asked)
    assert all(torch.equal(a, b) for a, b in zip(kept, generator.parameters(), strict=True))
    assert all(p.grad is None for p in generator.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(old, discriminator.parameters(), strict=True))
    assert (step.label_loss > 0) == (d_way == "auxiliary")


@each_g
def test_a_generators_step_moves_it_alone(g_way):
    generator, discriminator = small(g_way)
    kept = [p.clone() for p in discriminator.parameters()]
    old = [p.clone() for p in generator.parameters()]
    z, asked = sample_latent(7, 6, seeded()), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    cgan.update_g(generator, discriminator, adam(generator), z, asked)
    assert all(torch.equal(a, b) for a, b in zip(kept, discriminator.parameters(), strict=True))
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(old, generator.parameters(), strict=True))


def test_the_step_is_the_loss_of_pairs():
    generator, discriminator = small()
    images, labels = data(6)
    z, asked = sample_latent(4, 6, seeded()), torch.tensor([0, 1, 2, 3])
    with torch.no_grad():  # in training mode, as the step is
        real = discriminator(images, labels)
        fake = discriminator(generator(z, asked), asked)
        expected = F.softplus(-real).mean() + F.softplus(fake).mean()
    step = cgan.update_d(generator, discriminator, adam(discriminator), images, labels, z, asked)
    assert step.loss == pytest.approx(expected.item(), rel=1e-4)


def test_training_is_repeated_by_its_generator():
    def run():
        generator, discriminator = small()
        average = EMA(generator, 0.9)
        nets = generator, discriminator, adam(generator), adam(discriminator)
        steps = cgan.train(*nets, *data(), steps=3, rng=seeded(4), batch_size=4, ema=average, progress=False)
        return [s.d.loss for s in steps], average.model.state_dict()

    (losses, first), (again, second) = run(), run()
    assert losses == again and len(losses) == 3
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_only_labels_of_the_data_are_asked_for(monkeypatch):
    generator, discriminator = small(classes=(3, 2))
    attributes = torch.tensor([[0, 1], [2, 0], [1, 1]]).repeat(4, 1)
    seen = []
    plain = cgan.update_g
    monkeypatch.setattr(cgan, "update_g", lambda *a: seen.append(a[4]) or plain(*a))
    nets = generator, discriminator, adam(generator), adam(discriminator)
    list(cgan.train(*nets, data()[0], attributes, steps=3, rng=seeded(), batch_size=8, progress=False))
    pairs = {tuple(row) for batch in seen for row in batch.tolist()}
    assert pairs <= {(0, 1), (2, 0), (1, 1)} and len(pairs) > 1


def test_balanced_rows_hold_each_class_equally_often():
    labels = torch.tensor([0] * 50 + [1] * 3 + [4] * 7)
    rows = cgan.balanced_rows(labels, 6, seeded())
    assert labels[rows].tolist() == [0] * 6 + [1] * 6 + [4] * 6
    assert torch.equal(rows, cgan.balanced_rows(labels, 6, seeded()))
    assert not torch.equal(rows, cgan.balanced_rows(labels, 6, seeded(1)))


def test_sampling_in_parts_is_sampling_at_once():
    generator, _ = small()
    labels = torch.arange(5).repeat(3)
    at_once = cgan.sample(generator.eval(), labels, seeded())
    in_parts = cgan.sample(generator, labels, seeded(), batch=4)
    torch.testing.assert_close(at_once, in_parts, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, d: g(torch.zeros(2, 6), torch.tensor([0, 9])), r"lie in 0 \.\.\. 4; got 9"),
        (lambda g, d: g(torch.zeros(2, 6), torch.eye(5)[:2]), "not one-hot"),
        (lambda g, d: g(torch.zeros(2, 6), torch.tensor([0])), "labels must be 2, one for each"),
        (lambda g, d: g(torch.zeros(2, 7), torch.tensor([0, 1])), r"z must have shape \(batch, 6\)"),
        (
            lambda g, d: d(torch.zeros(2, 1, 28, 28), torch.tensor([0])),
            "labels must be 2, one for each",
        ),
        (lambda g, d: d.read_labels(torch.zeros(2, 1, 28, 28)), "condition must be auxiliary"),
        (lambda g, d: cgan.balanced_rows(torch.tensor([], dtype=torch.long), 2, seeded()), "at least one"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*small())
