"""The moving average of weights, against its formula, and in a training."""

import json

import pytest
import torch

from oclear.training.averaging import WeightAverage


def test_it_follows_the_formula():
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(3))
    average = WeightAverage({"w": weight}, decay=0.6)
    expected = weight.detach().clone()
    for step in range(20):
        weight.data = torch.randn(3)
        average.update(step)
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.data
    torch.testing.assert_close(average.tensors()["w"], expected)


def test_weights_are_themselves_again_after_the_block_also_when_it_fails():
    weight = torch.nn.Parameter(torch.zeros(1))
    average = WeightAverage({"w": weight}, decay=0.5)
    weight.data = torch.ones(1)
    average.update(10)
    with pytest.raises(ZeroDivisionError), average.applied():
        assert weight.item() == 0.5
        raise ZeroDivisionError
    assert weight.item() == 1.0
    assert average.tensors()["w"].item() == 0.5
    average.keep()
    assert weight.item() == 0.5


STAGE = {"trains": "heads", "heads_lr": 1e-2, "averaging": 0.8}


def test_the_average_is_validated_and_kept_and_learning_goes_its_own_way(make_trainer):
    plain = make_trainer([{**STAGE, "averaging": 0.0}], "plain")
    averaged = make_trainer([STAGE], "averaged")
    unseen = make_trainer([STAGE], "unseen", validation=False)
    for trainer in (plain, averaged, unseen):
        trainer.run()

    assert losses(plain) == losses(averaged) == losses(unseen), "the average follows only"
    name = "heads.shared.weight"
    kept = {t.folder.name: t.model.state_dict()[name] for t in (plain, averaged, unseen)}
    assert not torch.equal(kept["plain"], kept["unseen"])
    best = averaged.checkpoints.best()
    assert best is not None
    if best.progress.total_step == averaged.progress.total_step:
        assert torch.equal(kept["averaged"], kept["unseen"])


def losses(trainer) -> list[float]:
    lines = [json.loads(line) for line in trainer.metrics.path.read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]
