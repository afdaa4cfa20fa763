"""The end of a training: documents drawn to what their texts let expect."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from oclear.model import TwoTowerModel
from oclear.model.expectation import TextExpectation
from oclear.training import Trainer
from oclear.training.embedder import Embedder, Inputs
from oclear.training.ranks import Ranks
from oclear.training.text_expectation import (
    Drawn,
    Found,
    can_expect,
    fit_expectation,
    measure_drawing,
)
from oclear.training.validation import embed_validation

STAGES = [{"name": "heads", "trains": "heads", "max_steps": 4, "batch_size": 8}]
ENCODER = {"name": "all", "trains": "encoder", "max_steps": 2, "batch_size": 8}
MakeTrainer = Callable[..., Trainer]


class Documents:
    """A source of documents whose tokens foretell their picture's features, as far as it is told."""

    def __init__(self, model: TwoTowerModel, count: int, telling: float) -> None:
        draws = torch.Generator().manual_seed(0)
        assert model.text_encoder is not None
        self.tokens = torch.randn(count, 2, model.text_encoder.width, generator=draws)
        width = model.image_encoder.width
        told = self.tokens.mean(1) @ torch.randn(self.tokens.shape[2], width, generator=draws)
        self.features = telling * told + torch.randn(count, width, generator=draws)

    def documents(
        self, rows: np.ndarray, *, with_texts: bool = False
    ) -> Iterator[tuple[np.ndarray, Inputs]]:
        for batch in np.array_split(rows, 3):
            yield (
                batch,
                Inputs(
                    torch.ones(len(batch), dtype=torch.bool),
                    queries=self.features[:0],
                    documents=self.features[batch],
                    tokens=self.tokens[batch],
                    mask=torch.ones(len(batch), 2, dtype=torch.bool),
                ),
            )


class Catalogue:
    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)


def stage_data(source: Documents | None, count: int) -> Any:
    return SimpleNamespace(source=source, documents=Catalogue(np.arange(count)), level="pooled")


def test_telling_texts_are_found_and_others_are_not(
    make_model: Callable[..., TwoTowerModel],
) -> None:
    model = make_model()
    torch.nn.init.normal_(model.heads.shared.weight)

    told = fit_expectation(model, stage_data(Documents(model, 400, 3.0), 400), Ranks())
    assert told > 0.3
    assert isinstance(model.expectation, TextExpectation)
    assert float(model.expectation.strength) == model.config.text_strength
    model.expectation.strength.zero_()  # as the trainer does where photos find less

    silent = fit_expectation(model, stage_data(Documents(model, 400, 0.0), 400), Ranks())
    assert silent < 0.01
    assert model.expectation is None


def test_ranks_find_what_one_finds(
    make_model: Callable[..., TwoTowerModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    torch.nn.init.normal_(model.heads.shared.weight)
    data = stage_data(Documents(model, 400, 3.0), 400)
    share = fit_expectation(model, data, Ranks())
    assert model.expectation is not None
    alone = model.expectation.weight

    gathered: list[Any] = []
    for rank in (2, 1, 0):  # each in turn: rank 0 comes last, and has what all of them gathered

        def gather(self: Ranks, value: Any) -> list[Any]:
            gathered.append(value)
            return gathered

        monkeypatch.setattr(Ranks, "gather", gather)
        monkeypatch.setattr(Ranks, "from_main", lambda self, value: value)
        shared = fit_expectation(model, data, Ranks(rank, 3))

    assert shared == pytest.approx(share, abs=1e-9)
    torch.testing.assert_close(model.expectation.weight, alone)


@pytest.mark.parametrize(("most", "count"), [(80, 400), (100, 1000), (64, 319)])
def test_some_of_the_documents_are_of_every_fold(
    make_model: Callable[..., TwoTowerModel],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    count: int,
) -> None:
    monkeypatch.setattr("oclear.training.text_expectation._MOST", most)
    model = make_model()
    torch.nn.init.normal_(model.heads.shared.weight)

    assert fit_expectation(model, stage_data(Documents(model, count, 9.0), count), Ranks()) > 0.1


def test_a_model_of_pictures_or_of_text_alone_has_none(
    make_model: Callable[..., TwoTowerModel],
) -> None:
    assert can_expect(make_model())
    assert not can_expect(make_model(text=False))
    model = make_model()
    model.config = model.config.model_copy(update={"fusion": "text"})
    assert not can_expect(model)


@pytest.mark.parametrize("stages", [STAGES, [*STAGES, ENCODER]], ids=["features", "pixels"])
def test_a_training_ends_with_it(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, stages: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr("oclear.training.text_regression._FEWEST", 5)
    monkeypatch.setattr("oclear.training.text_regression._LEAST_SHARE", -9.0)
    trainer = make_trainer(stages)

    result = trainer.run()

    lines = [json.loads(line) for line in (trainer.folder / "metrics.jsonl").open()]
    told = next(line for line in lines if line["stage"] == "end")
    assert isinstance(trainer.model.expectation, TextExpectation)
    assert float(trainer.model.expectation.strength) == 0.5 * told["documents_are_drawn"]
    chosen = told["drawn"] if told["documents_are_drawn"] else told["as_they_are"]
    assert result.best_score == chosen["identical_at_1"]
    again = make_trainer(stages)  # killed after the last stage: it goes on, and ends alike
    assert again.run() == result
    assert torch.equal(again.model.expectation.weight, trainer.model.expectation.weight)


@pytest.mark.parametrize(
    ("after", "kept"), [((0.75, 0.8), True), ((0.25, 0.6), True), ((0.75, 0.5), False)]
)
def test_it_is_kept_unless_validation_photos_find_less(
    make_trainer: MakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
    after: tuple[float, float],
    kept: bool,
) -> None:
    trainer = make_trainer(STAGES)

    def fit(model: TwoTowerModel, data: Any, ranks: Ranks) -> float:
        model.expectation = TextExpectation(32, 8)
        model.expectation.strength.fill_(0.5)
        return 0.3

    monkeypatch.setattr("oclear.training.trainer.fit_expectation", fit)
    monkeypatch.setattr(
        "oclear.training.trainer.measure_drawing", lambda *_: Drawn(Found(0.5, 0.6), Found(*after))
    )

    result = trainer.run()

    assert trainer.model.expectation is not None
    assert float(trainer.model.expectation.strength) == (0.5 if kept else 0.0)
    assert result.best_score == (after if kept else (0.5, 0.6))[0]


def test_drawing_is_measured_as_it_will_be_used(make_trainer: MakeTrainer, world: Any) -> None:
    trainer = make_trainer(STAGES)
    trainer.run()
    model = trainer.model
    data = trainer.opener.open(trainer.config.stages[0], 0)
    validation = world.validation()

    def score() -> float:
        embed = Embedder(model, data.level).eval()
        with torch.no_grad():
            found = embed_validation(
                validation, data.documents, data.source, embed, Ranks(), with_texts=True
            )
        return validation.identical_at_1(found)

    plain = score()
    assert model.text_encoder is not None
    model.expectation = TextExpectation(model.text_encoder.width, 8)
    torch.manual_seed(0)
    model.expectation.weight.normal_()
    model.expectation.strength.fill_(5.0)
    expectation = model.expectation

    measured = measure_drawing(model, data, validation, Ranks())

    assert model.expectation is expectation
    assert measured.before.identical_at_1 == plain
    assert measured.after.identical_at_1 == score()
    assert measured.after != measured.before


def test_what_a_model_began_with_is_not_kept(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(STAGES)
    assert trainer.model.text_encoder is not None
    model = trainer.model
    model.expectation = TextExpectation(model.text_encoder.width, model.config.embedding_dim)

    again = make_trainer(STAGES, model=model)

    assert again.model.expectation is None
    again.run()
    assert again.model.expectation is None, "eight documents are too few to fit it to"
