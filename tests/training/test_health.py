"""Each sign of a training that goes wrong is provoked, logged, and said once with what to do."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from oclear.progress import Reporter
from oclear.training.cached_features import TextCache
from oclear.training.health import SIGNS, Health
from oclear.training.ranks import Ranks
from oclear.training.signs import concept_signs, mean_cosine, proxy_signs


@pytest.fixture
def watched(
    make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[list[str], list[dict[str, Any]]]]:
    """``watched(stages, spoil)``: trains, ``spoil(trainer)`` before each look; gives what was said and logged."""

    def run(stages: list[dict[str, Any]], spoil: Callable[[Any], None], **options: Any) -> Any:
        trainer = make_trainer(stages, **options)
        said: list[str] = []
        monkeypatch.setattr(Reporter, "say", lambda _, line: said.append(line))
        look = Health.look

        def spoiled(self: Health, *arguments: Any) -> None:
            with torch.no_grad():
                spoil(trainer)
            look(self, *arguments)

        monkeypatch.setattr(Health, "look", spoiled)
        trainer.run()
        lines = [json.loads(line) for line in trainer.metrics.path.read_text().splitlines()]
        warnings = [line for line in said if line.startswith("warning: ")]
        return warnings, [line for line in lines if "proxy_mean_cosine" in line]

    return run


def nothing(_: Any) -> None:
    pass


def all_alike(trainer: Any) -> None:
    trainer.proxies.weight[:] = trainer.proxies.weight[0]


def one_long(trainer: Any) -> None:
    trainer.proxies.weight[3] *= 1e4


def dead_slots(trainer: Any) -> None:
    trainer.model.concept.keys[1:] = 0.0


def one_concept(trainer: Any) -> None:
    trainer.model.concept.keys.zero_()


def shuffled_graph(trainer: Any) -> None:
    """As if proxies had moved far since the graph was built."""
    trainer.proxies.weight[:] = torch.randn_like(trainer.proxies.weight)


KNN = {"kind": "knn", "budget": 4, "neighbours": 2, "refresh_share": 0.0}


@pytest.mark.parametrize(
    ("spoil", "sign", "says"),
    [
        (all_alike, "proxy_mean_cosine", "cosine of 1.00 on average"),
        (one_long, "proxy_largest_norm", "proxy norms explode"),
        (one_concept, "concept_mean_cosine", "concepts are nearly constant"),
        (dead_slots, "dead_memory_slots", "75% of the memory slots look at all words alike"),
        (shuffled_graph, "graph_recall", "the neighbour graph knows"),
    ],
)
def test_a_sign_is_logged_and_said_once_with_what_to_do(watched, spoil, sign, says):
    stage = {"trains": "fusion", "proxies_start": "class_means", "epochs": 4, "selection": KNN}

    warnings, lines = watched([stage], spoil, validation=None)

    assert all(SIGNS[sign].is_bad(line[sign]) for line in lines)
    assert len(lines) == 2
    about = [line for line in warnings if says in line]
    assert len(about) == 1, "each warning once a stage"
    assert about[0].endswith(SIGNS[sign].hint)


def test_a_training_that_goes_well_is_not_warned_of(watched):
    stage = {"trains": "heads", "proxies_start": "class_means", "epochs": 10, "selection": KNN}
    stage["selection"] = {**KNN, "refresh_share": 0.5}

    warnings, lines = watched([stage], nothing)

    assert warnings == []
    assert len(lines) == 2
    assert {name for line in lines for name in line} >= {
        "proxy_mean_cosine",
        "proxy_rank_share",
        "proxy_largest_norm",
        "graph_recall",
    }


def test_proxies_that_lost_their_directions_though_not_alike():
    signs = proxy_signs(two_directions_weight())
    assert signs["proxy_mean_cosine"] < 0.1
    assert SIGNS["proxy_rank_share"].is_bad(signs["proxy_rank_share"])


def two_directions_weight() -> torch.Tensor:
    one = torch.randn(1, 64)
    return torch.cat([one, -one]).repeat(100, 1)


def test_signs_of_proxies_against_plain_formulas():
    torch.manual_seed(0)
    weight = torch.randn(50, 20) * torch.rand(50, 1) * 3
    unit = weight / weight.norm(dim=1, keepdim=True)
    cosines = unit @ unit.T
    spectrum = torch.linalg.svdvals(unit)
    shares = spectrum / spectrum.sum()

    signs = proxy_signs(weight)

    off_diagonal = cosines[~torch.eye(50, dtype=torch.bool)]
    assert signs["proxy_mean_cosine"] == pytest.approx(float(off_diagonal.mean()), abs=1e-4)
    rank = float((-(shares * shares.log()).sum()).exp())
    assert signs["proxy_rank_share"] == pytest.approx(rank / 20, abs=1e-4)
    assert signs["proxy_largest_norm"] == pytest.approx(float(weight.norm(dim=1).max()), abs=1e-3)
    assert proxy_signs(weight[:1]) == {}
    assert proxy_signs(weight.bfloat16())["proxy_rank_share"] == pytest.approx(rank / 20, abs=1e-2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_proxies_that_are_not_finite_are_told_of(value):
    weight = torch.randn(50, 20)
    weight[3, 1] = value

    signs = proxy_signs(weight)

    assert SIGNS["proxy_largest_norm"].is_bad(signs["proxy_largest_norm"])
    json.dumps(signs, allow_nan=False)


def test_signs_of_many_proxies_come_from_a_sample(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.linalg, "svdvals", lambda rows: seen.append(len(rows)) or rows[0])
    proxy_signs(torch.randn(100_000, 4))
    assert 1000 < seen[0] <= 2048


def test_slots_that_look_at_all_words_alike(make_model):
    model = make_model()
    tokens = torch.randn(6, 8, 16)
    texts = TextCache(tokens.half().numpy(), np.array([8, 8, 0, 3, 8, 1]), "")
    with torch.no_grad():
        assert concept_signs(model.concept, texts)["dead_memory_slots"] == 0
        model.concept.keys[:2] = 0
        assert concept_signs(model.concept, texts)["dead_memory_slots"] == 0.5
        model.concept.keys[2] = model.concept.keys[3]  # alike, but not blind
        assert concept_signs(model.concept, texts)["dead_memory_slots"] == 0.5
    short = TextCache(tokens.half().numpy(), np.ones(6, np.int64), "")
    assert "dead_memory_slots" not in concept_signs(model.concept, short), "one word has no rival"


def test_texts_that_say_nothing_have_no_signs(make_model):
    texts = TextCache(np.zeros((3, 8, 16), np.float16), np.array([0, 4, 0]), "")
    assert concept_signs(make_model().concept, texts) == {}


def test_mean_cosine_of_two():
    assert mean_cosine(torch.tensor([[1.0, 0.0], [3.0, 3.0]])) == 0.7071


def test_the_worst_rank_counts(monkeypatch):
    assert SIGNS["graph_recall"].worst([0.9, 0.2]) == 0.2
    assert SIGNS["proxy_largest_norm"].worst([1.0, 300.0]) == 300
    assert not SIGNS["proxy_largest_norm"].is_bad(float("1"))
    assert SIGNS["proxy_largest_norm"].is_bad(float("nan"))
    assert Ranks().gather({"a": 1}) == [{"a": 1}]
