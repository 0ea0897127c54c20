import pytest
import torch
import torch.nn.functional as F

from genimg_ref.nn.labels import LabelEmbedding, one_hot, table_rows


def test_one_hot_of_one_class_is_pytorchs():
    y = torch.tensor([3, 0, 2, 2])
    assert torch.equal(one_hot(y, 5), F.one_hot(y, 5).float())


def test_attributes_stand_one_after_the_other():
    y = torch.tensor([[1, 0, 3], [0, 1, 0]])
    expected = torch.cat([F.one_hot(y[:, k], n) for k, n in enumerate((2, 3, 4))], dim=1).float()
    assert torch.equal(one_hot(y, (2, 3, 4)), expected)
    assert table_rows(y, (2, 3, 4)).tolist() == [[1, 2, 8], [0, 3, 5]]


def test_an_embedding_is_the_one_hot_row_times_the_table():
    y = torch.tensor([[1, 2], [0, 0], [1, 1]])
    embed = LabelEmbedding((2, 3), 4)
    torch.testing.assert_close(embed(y), one_hot(y, (2, 3)) @ embed.weight)


def test_gradients_reach_the_rows_that_occur_and_no_others():
    embed = LabelEmbedding(4, 3)
    embed(torch.tensor([2, 0, 2])).sum().backward()
    assert embed.weight.grad.sum(dim=1).tolist() == [3.0, 0.0, 6.0, 0.0]


def test_embeddings_are_drawn_from_their_own_distribution_by_the_generator():
    embed = LabelEmbedding(200, 50, mean=2.0, std=0.5)
    embed.reset(torch.Generator().manual_seed(0))
    first = embed.weight.clone()
    assert abs(first.mean() - 2) < 0.02 and abs(first.std() - 0.5) < 0.02
    before = torch.get_rng_state()
    embed.reset(torch.Generator().manual_seed(0))
    assert torch.equal(first, embed.weight) and torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (torch.eye(3), 3, r"not one-hot; got torch.float32 of shape \(3, 3\)"),
        (torch.tensor([True, False]), 2, "not one-hot; got torch.bool"),
        (torch.eye(3).long(), 3, r"shape \(batch,\), not one-hot; got torch.int64 of shape \(3, 3\)"),
        (torch.tensor([0, 3]), 3, r"lie in 0 \.\.\. 2; got 3"),
        (torch.tensor([-1, 1]), 3, r"lie in 0 \.\.\. 2; got -1"),
        (torch.tensor([[0, 4], [1, 0]]), (2, 4), r"lie in 0 \.\.\. 3 in column 1; got 4"),
        (torch.tensor([0, 1]), (2, 4), r"shape \(batch, 2\), not one-hot; got torch.int64 of shape \(2,\)"),
        (
            torch.tensor([[0], [1]]),
            (2, 4),
            r"shape \(batch, 2\), not one-hot; got torch.int64 of shape \(2, 1\)",
        ),
        (torch.tensor([0]), (), "classes must be one or more numbers"),
        (torch.tensor([0]), 0, "classes must be one or more numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        one_hot(labels, classes)
