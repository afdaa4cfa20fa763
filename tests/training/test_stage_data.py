"""What a stage learns from is what its configuration says."""

import pytest
import torch

from oclear.config import build_config
from oclear.errors import ConfigError
from oclear.progress import Reporter
from oclear.training import TrainConfig
from oclear.training.augmentation import Augmentation, AugmentationConfig

PLAIN = {"min_crop": 1.0, "flip": 0.0, "colour": 0.0, "rotation": 0.0}


@pytest.fixture
def larger(make_model):
    """A model of pictures of 32 px."""
    model = make_model()
    model.preprocessing = model.preprocessing.model_copy(update={"size": 32})
    return model


def test_a_stage_has_a_picture_size_and_changes_of_its_own(make_trainer, larger):
    stages = [
        {"name": "plain", "trains": "encoder", "image_size": 24, "augmentation": PLAIN},
        {"name": "changed", "trains": "encoder"},
        {"name": "at most the model's", "trains": "encoder", "image_size": 64},
    ]
    trainer = make_trainer(stages, model=larger)
    trainer.run()

    for number, (stage, size) in enumerate(zip(trainer.config.stages, (24, 32, 32), strict=True)):
        data = trainer.opener.open(stage, number)
        rows, inputs = next(iter(data.source.steps(0, 1)))
        plain = trainer.model.preprocessing
        augment = Augmentation(
            stage.augmentation or AugmentationConfig(), plain.model_copy(update={"size": size})
        )
        picture = data.queries.load(int(data.samples.picture[rows[0]]), target_size=size)
        expected = augment(picture, (trainer.config.seed, number, 0, 0))
        assert expected.shape == (3, size, size)
        assert torch.equal(inputs.pixels[0], expected)


@pytest.mark.parametrize(
    ("sizes", "is_warned"), [((24, None), False), ((24, 64), False), ((None, 24), True)]
)
def test_a_model_that_ends_on_small_pictures_is_warned_of(
    make_trainer, larger, monkeypatch, sizes, is_warned
):
    stages = [{"trains": "encoder", "image_size": size, "max_steps": 1} for size in sizes]
    stages.append({"trains": "proxies", "max_steps": 1})
    said: list[str] = []
    monkeypatch.setattr(Reporter, "say", lambda self, line: said.append(line))

    make_trainer(stages, model=larger, validation=False).run()

    warnings = [line for line in said if "pictures of 24 px, and the model is searched" in line]
    assert len(warnings) == is_warned


@pytest.mark.parametrize(
    ("trains", "setting", "advice"),
    [
        ("heads", {"image_size": 32}, "Give image_size null, or trains encoder."),
        ("fusion", {"frozen_share": 0.5}, "Give frozen_share 0.0, or trains encoder."),
        ("proxies", {"encoder_lr_decay": 0.5}, "Give encoder_lr_decay 1.0, or trains encoder."),
        ("heads", {"augmentation": PLAIN}, "Give augmentation null, or trains encoder."),
        ("proxies", {"alignment": 0.3}, "Give alignment 0, or trains heads, fusion or encoder."),
        ("proxies", {"averaging": 0.9}, "Give averaging 0, or trains heads, fusion or encoder."),
        (
            "encoder",
            {"alignment": 0.3, "document_share": 0},
            "Give alignment 0, or a document_share above 0.",
        ),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused_by_its_name(trains, setting, advice):
    stages = [{"name": "first"}, {"name": "late", "trains": trains, **setting}]
    with pytest.raises(ConfigError) as error:
        build_config(TrainConfig, preset={"stages": stages})

    first, second = str(error.value).splitlines()
    assert first.startswith(f"stages.1: {next(iter(setting))} ")
    assert "'late'" in first
    assert second == advice


@pytest.mark.parametrize(
    ("proxies", "stage", "message"),
    [
        ({"sub_centres": 2}, {"selection": {"kind": "knn"}}, "'late': proxies.sub_centres go with"),
        ({"precision": "bf16"}, {"proxies_optimizer": "adamw"}, "'late': proxies_optimizer adamw"),
    ],
)
def test_what_does_not_go_with_the_proxies_is_refused(proxies, stage, message):
    stages = [{"name": "first"}, {"name": "late", **stage}]
    with pytest.raises(ConfigError, match=message):
        build_config(TrainConfig, preset={"stages": stages, "proxies": proxies})
