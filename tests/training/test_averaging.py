"""The moving average of weights, against its formula, and in a training."""

import json

import pytest
import torch

from oclear.training import Trainer
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


NAME = "heads.shared.weight"
STAGE = {"trains": "heads", "heads_lr": 1e-2, "averaging": 0.8}


def test_the_average_is_kept_and_learning_goes_its_own_way(make_trainer):
    plain = make_trainer([{**STAGE, "averaging": 0.0}], "plain", validation=False)
    averaged = make_trainer([STAGE], "averaged", validation=False)
    for trainer in (plain, averaged):
        watch(trainer)
        trainer.run()

    assert losses(plain) == losses(averaged), "the average follows only"
    weights = plain.weights_of_each_step
    torch.testing.assert_close(plain.model.state_dict()[NAME], weights[-1])
    expected = weights[0]
    for step, now in enumerate(weights[1:]):
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * now
    torch.testing.assert_close(averaged.model.state_dict()[NAME], expected)


def test_the_average_is_what_is_validated_and_kept_as_the_best(make_trainer, monkeypatch):
    averages, raw = {}, {}
    validate = Trainer._validate

    def watched(self, stage, learner):
        step = self.progress.total_step
        averages[step] = learner.average.tensors()[NAME].clone()
        raw[step] = self.model.state_dict()[NAME].clone()
        self.progress.best_score = -1.0  # whatever it is, it is better
        validate(self, stage, learner)

    monkeypatch.setattr(Trainer, "_validate", watched)
    trainer = make_trainer([STAGE])
    trainer.run()

    last = trainer.progress.total_step
    assert trainer.checkpoints.best().progress.total_step == last > 0
    assert torch.equal(trainer.model.state_dict()[NAME], averages[last])
    assert not torch.equal(averages[last], raw[last])


def watch(trainer) -> None:
    """Keeps the weights before the first step and after each."""
    step = trainer._train_step
    kept = [trainer.model.state_dict()[NAME].clone()]

    def watched(*arguments):
        step(*arguments)
        kept.append(trainer.model.state_dict()[NAME].clone())

    trainer._train_step, trainer.weights_of_each_step = watched, kept


def losses(trainer) -> list[float]:
    lines = [json.loads(line) for line in trainer.metrics.path.read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]
