"""What a stage learns from is what its configuration says."""

import pytest
import torch

from oclear.errors import ConfigError
from oclear.proxies import ProxyConfig
from oclear.training import StageConfig
from oclear.training.augmentation import Augmentation, AugmentationConfig

PLAIN = {"min_crop": 1.0, "flip": 0.0, "colour": 0.0, "rotation": 0.0}


def test_a_stage_has_a_picture_size_and_changes_of_its_own(make_trainer):
    stages = [
        {"name": "plain", "trains": "encoder", "image_size": 24, "augmentation": PLAIN},
        {"name": "changed", "trains": "encoder"},
    ]
    trainer = make_trainer(stages)
    trainer.run()

    for number, stage in enumerate(trainer.config.stages):
        data = trainer.opener.open(stage, number)
        rows, inputs = next(iter(data.source.steps(0, 1)))
        plain = trainer.model.preprocessing
        size = stage.image_size or plain.size
        augment = Augmentation(
            stage.augmentation or AugmentationConfig(), plain.model_copy(update={"size": size})
        )
        picture = data.queries.load(int(data.samples.picture[rows[0]]), target_size=size)
        expected = augment(picture, (trainer.config.seed, number, 0, 0))
        assert expected.shape == (3, size, size)
        assert torch.equal(inputs.pixels[0], expected)


@pytest.mark.parametrize(
    ("trains", "setting"),
    [
        ("heads", {"image_size": 32}),
        ("fusion", {"frozen_share": 0.5}),
        ("proxies", {"encoder_lr_decay": 0.5}),
        ("heads", {"augmentation": PLAIN}),
        ("proxies", {"alignment": 0.3}),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(trains, setting):
    stage = StageConfig.model_validate({"name": "s", "trains": trains, **setting})
    with pytest.raises(ConfigError, match=next(iter(setting))):
        stage.resolve(ProxyConfig().resolve(3))
