import pytest
import torch

from genimg_ref.train.loop import minibatch, run


def test_every_step_is_yielded_after_it_was_done():
    done = []

    def update(number):
        done.append(number)
        return number

    for number in run(update, steps=5, start=2):
        assert done[-1] == number
    assert done == [3, 4, 5]


def test_a_caller_may_stop_early():
    done = []
    for number in run(done.append, steps=100):
        assert number is None
        if len(done) == 4:
            break
    assert done == [1, 2, 3, 4]


@pytest.mark.parametrize("start", [-1, 6])
def test_a_start_beyond_the_end_is_refused_at_once(start):
    with pytest.raises(ValueError, match=f"start must lie between 0 and steps = 5; got {start}"):
        run(lambda number: number, steps=5, start=start)


def test_progress_leaves_no_line_behind(capsys):
    list(run(lambda number: number, steps=20, describe=lambda step: f"loss {step}"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "\n" not in shown.err
    assert shown.err.split("\r")[-2].strip() == ""  # the last thing written over the line is blank


def test_minibatch_takes_rows_and_all_of_them():
    data = torch.arange(12.0).reshape(4, 3)
    batch = minibatch(data, 200, torch.Generator().manual_seed(0))
    assert batch.shape == (200, 3)
    rows, counts = batch.unique(dim=0, return_counts=True)
    assert torch.equal(rows, data)
    assert (counts > 25).all()


def test_minibatch_repeats_with_its_generator():
    data = torch.arange(50)
    first, second = (minibatch(data, 8, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
