"""Which arms an ablation has, and what each changes."""

from pathlib import Path

import pytest

from oclear.commands.ablate import PRESETS, AblateConfig, chosen_arms
from oclear.commands.trials.arms import PARTS, WHOLE, Arm, arms_of, first_experiments
from oclear.commands.trials.config import budgeted
from oclear.config import build_config
from oclear.errors import ConfigError, InputError
from oclear.training import StageConfig, TrainConfig

CONFIG = AblateConfig()


def test_every_part_is_taken_out_or_left_out_with_a_reason() -> None:
    chosen = arms_of(CONFIG, list(PARTS), [])
    assert chosen.arms[0] == Arm(WHOLE)
    names = [arm.name for arm in chosen.arms]
    assert {"clicks as labels", "image only", "no margin", "photos as they come"} <= set(names)
    assert {"without stage heads", "without stage finetune", "with a second round"} <= set(names)
    for arm in chosen.arms[1:]:
        is_other = arm.config(CONFIG) != CONFIG
        assert is_other or arm.labels == "clicked" or arm.draw or arm.rounds > 1, arm.name
    assert all(chosen.left_out.values())
    assert set(chosen.left_out) <= {"fusion", "concept", "pooling"}


def test_alternatives_are_all_other_values_of_a_key() -> None:
    chosen = arms_of(CONFIG, ["loss"], [])
    assert ("training.proxies.margin=arcface",) in [arm.overrides for arm in chosen.arms]
    names = [arm.name for arm in chosen.arms]
    assert "margin cosface" not in names, "it is the whole"
    assert {"three sub-centres", "margin by frequency"} < set(names)


def test_a_part_that_there_is_not_is_left_out_with_the_reason() -> None:
    quick = build_config(AblateConfig, None, [], PRESETS[True])
    chosen = arms_of(quick, ["stages", "margin"], [])
    assert chosen.left_out == {"stages": "there is a single stage to train"}
    assert [arm.name for arm in chosen.arms] == [WHOLE, "no margin"]


def test_coarse_labels_are_put_in_or_taken_out() -> None:
    without = arms_of(CONFIG, ["coarse_labels"], []).arms[1].config(CONFIG)
    assert without.training.coarse_weight == 0.3
    whole = build_config(AblateConfig, None, ["training.coarse_weight=0.2"], None)
    assert arms_of(whole, ["coarse_labels"], []).arms[1].config(whole).training.coarse_weight == 0


def test_any_override_is_an_arm() -> None:
    chosen = arms_of(CONFIG, [], ["wide: model.embedding_dim=512 training.seed=4"])
    config = chosen.arms[1].config(CONFIG)
    assert (config.model.embedding_dim, config.training.seed) == (512, 4)
    assert config.training.stages == CONFIG.training.stages


@pytest.mark.parametrize(
    ("parts", "arms", "words"),
    [
        ("governnace", [], "governance"),
        ("margin", ["wide"], "Write 'name: key.sub=value"),
        ("margin", ["wide: 512"], "Write 'name: key.sub=value"),
        ("margin", ["no  margin: training.seed=1"], "taken"),
        ("margin", ["Whole: training.seed=1"], "taken"),
    ],
)
def test_what_is_not_understood_is_refused(parts: str, arms: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        chosen_arms(CONFIG, Path(), parts, arms, first=False)


def test_a_wrong_value_of_an_arm_is_refused() -> None:
    with pytest.raises(ConfigError, match="embedding_dim"):
        arms_of(CONFIG, [], ["wide: model.embedding_dim=none"])


def test_the_first_experiments_ask_for_neighbours_only_where_there_are_others() -> None:
    many, few = first_experiments(CONFIG, 10_000), first_experiments(CONFIG, 300)
    ks = [arm.name for arm in many.arms if arm.name.startswith("K")]
    assert ks == ["K = 1", "K = 2", "K = 4", "K = 8", "K = 16"]
    config = many.arms[-1].config(CONFIG)
    assert config.training.proxies.selection.kind == "knn"
    assert config.training.proxies.selection.neighbours == 16
    assert config.training.resolve(10_000).stages[-1].proxies_optimizer == "adagrad"
    assert [name for name in few.left_out if name.startswith("K")] == ks[2:]
    selections = [
        arm.config(CONFIG).training.proxies.selection
        for arm in many.arms
        if arm.name.startswith("K")
    ]
    # 48 photos of a batch and their neighbours, and 128 that are drawn, or a fifth of all.
    assert [selection.budget for selection in selections] == [224, 272, 368, 560, 1020]
    assert [arm.name for arm in few.arms][:2] == [WHOLE, "image only and proxies"]


def test_neighbours_are_left_out_where_all_of_the_budget_is_drawn() -> None:
    config = build_config(AblateConfig, None, ["training.proxies.selection.uniform_share=1"])
    chosen = first_experiments(config, 10_000)
    assert "no room" in chosen.left_out["K = 4"]


def test_steps_depend_on_the_log_alone() -> None:
    stages = (
        StageConfig(name="a", epochs=3, batch_size=64, document_share=0.5),
        StageConfig(name="b", epochs=3, batch_size=64, document_share=0.25, max_steps=5),
    )
    found = budgeted(TrainConfig(stages=stages), 100)
    assert [stage.max_steps for stage in found.stages] == [12, 5]
    assert all(stage.epochs > 1000 for stage in found.stages)
