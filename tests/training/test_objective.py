"""Another objective in the place of classification among proxies, in the same loop."""

import json

import numpy as np
import pytest
import torch

from oclear.training.objective import Objective
from oclear.training.ranks import Ranks
from oclear.training.sampler import BalancedSampler


class Centres(Objective):
    """Embeddings near a learned centre of their class."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.centres = torch.nn.Parameter(torch.randn(classes, dim))
        self.seen: list[tuple[int, int]] = []

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, is_document: torch.Tensor
    ) -> torch.Tensor:
        self.seen.append((int((~is_document).sum()), int(is_document.sum())))
        logits = 8 * embeddings @ torch.nn.functional.normalize(self.centres, dim=1).T
        return torch.nn.functional.cross_entropy(logits, labels)

    def comparisons(self, photos: int, documents: int) -> int:
        return (photos + documents) * len(self.centres)


STAGE = {"trains": "heads", "heads_lr": 1e-2, "epochs": 8, "document_share": 0.25}


def objective_of(world) -> Centres:
    return Centres(world.data().samples.num_classes, 8)


def test_it_learns_and_the_proxies_lie_idle(make_trainer, world, weights):
    objective = objective_of(world)
    before = weights(objective)
    trainer = make_trainer([STAGE], objective=objective)
    proxies = weights(trainer.proxies)["weight"]

    result = trainer.run()

    lines = [json.loads(line) for line in trainer.metrics.path.read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert result.final_loss == losses[-1] < 0.8 * losses[0]
    assert not torch.equal(before["centres"], objective.centres)
    assert torch.equal(proxies, trainer.proxies.weight)
    # An ID that has no photo gives none to a batch.
    assert max(objective.seen) == (12, 4)


def test_a_killed_run_goes_on_with_what_the_objective_had_learned(make_trainer, world, weights):
    whole = make_trainer([STAGE], "whole", objective=objective_of(world))
    whole.run()

    class Killed(BaseException):
        pass

    killed = make_trainer([STAGE], "killed", objective=objective_of(world), checkpoint_minutes=0)
    forward = killed.objective.forward

    def dying(*batch):
        if len(killed.objective.seen) == 20:
            raise Killed
        return forward(*batch)

    killed.objective.forward = dying
    with pytest.raises(Killed):
        killed.run()
    again = make_trainer([STAGE], "killed", objective=objective_of(world), checkpoint_minutes=0)
    again.run()

    assert torch.equal(again.objective.centres, whole.objective.centres)
    assert torch.equal(again.model.heads.shared.weight, whole.model.heads.shared.weight)


def test_it_is_for_one_process(make_trainer, world):
    with pytest.raises(ValueError, match="one process"):
        make_trainer([STAGE], objective=objective_of(world), ranks=Ranks(0, 2))


def test_another_sampler_draws_the_batches(make_trainer, world):
    made = []

    class First(BalancedSampler):
        """The same batch in every step."""

        def draw(self, step: int) -> np.ndarray:
            made.append(step)
            return super().draw(0)

    result = make_trainer([STAGE], objective=objective_of(world), sampling=First).run()

    assert result.steps == len(set(made))
