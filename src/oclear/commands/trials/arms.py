"""Arms of an ablation: the whole method with one part of it taken out, or put in another's place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

from oclear.commands.trials.config import TrialsConfig
from oclear.config import build_config
from oclear.errors import ConfigError, InputError, nearest_name
from oclear.evaluation.comparison.pair_sampler import Draw

WHOLE = "whole"
_NEIGHBOURS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Arm:
    """What differs from the whole.

    Attributes:
        name: In files and figures; one that can be read.
        overrides: ``key.sub=value``, above the configuration of the whole.
        labels: Category IDs, or clicks as they are.
        draw: How photos are drawn; IDs evenly where None.
        rounds: Of governance, each but the first with the eyes of the model before.
    """

    name: str
    overrides: tuple[str, ...] = ()
    labels: Literal["governed", "clicked"] = "governed"
    draw: Draw | None = None
    rounds: int = 1

    @property
    def differing(self) -> list[str]:
        """What differs from the whole, in words."""
        told = list(self.overrides)
        if self.labels == "clicked":
            told.append("each clicked item is a class, each click a sample of it")
        if self.draw is not None:
            told.append("photos are drawn evenly, not IDs")
        if self.rounds > 1:
            told.append("categorized again by the model's own eyes, and trained again")
        return told

    def config(self, whole: TrialsConfig) -> TrialsConfig:
        """The configuration of this arm.

        Raises:
            ConfigError: A key that this version does not have, or a value that it does not take.
        """
        return build_config(type(whole), None, self.overrides, whole.model_dump(mode="json"))


@dataclass(frozen=True)
class Chosen:
    """The arms of a run, and those left out with the reason."""

    arms: list[Arm]
    left_out: dict[str, str] = field(default_factory=dict)


def _only(*arms: Arm) -> Callable[[TrialsConfig], list[Arm]]:
    return lambda whole: list(arms)


def _alternatives(key: str, whole: TrialsConfig, *, but: Sequence[str] = ()) -> list[Arm]:
    """An arm for each other value of a key with a few named ones, but some.

    Raises:
        ConfigError: There is no such key, or it has a single value.
    """
    place: Any = whole
    *path, last = key.split(".")
    for name in path:
        place = getattr(place, name)
    known = type(place).model_fields
    if last not in known:
        raise ConfigError(f"this version has no {key}")
    annotation = known[last].annotation
    names = [a for kind in (annotation, *get_args(annotation)) for a in get_args(kind)]
    names = list(dict.fromkeys(name for name in names if isinstance(name, str)))
    others = [name for name in names if name not in (getattr(place, last), *but)]
    if not others:
        raise ConfigError(f"{key} has no other value to take")
    return [Arm(f"{last} {name}", (f"{key}={name}",)) for name in others]


def _stages(whole: TrialsConfig) -> list[Arm]:
    """Without each stage in turn."""
    stages = whole.training.stages
    if len(stages) < 2:
        raise ConfigError("there is a single stage to train")
    arms = []
    for without in stages:
        rest = [s.model_dump(mode="json") for s in stages if s is not without]
        arms.append(Arm(f"without stage {without.name}", (f"training.stages={json.dumps(rest)}",)))
    return arms


PARTS: dict[str, Callable[[TrialsConfig], list[Arm]]] = {
    "governance": _only(Arm("clicks as labels", labels="clicked")),
    "text": _only(Arm("image only", ("model.text_encoder=null",))),
    "fusion": partial(_alternatives, "model.fusion", but=("image",)),  # which is the part before
    "expectation": _only(Arm("not drawn to texts", ("model.text_strength=0",))),
    "concept": partial(_alternatives, "model.concept"),
    "pooling": partial(_alternatives, "model.pooling"),
    "heads": _only(Arm("one head for both sides", ("model.side_strength=0",))),
    "margin": _only(Arm("no margin", ("training.proxies.margin_size=0",))),
    "loss": lambda whole: [
        *_alternatives("training.proxies.margin", whole),
        Arm("three sub-centres", ("training.proxies.sub_centres=3",)),
        Arm("margin by frequency", ("training.proxies.margin_frequency=0.25",)),
    ],
    "coarse_labels": lambda whole: [
        Arm("without coarse labels", ("training.coarse_weight=0",))
        if whole.training.coarse_weight
        else Arm("coarse labels as classes", ("training.coarse_weight=0.3",))
    ],
    "stages": _stages,
    "sampler": _only(Arm("photos as they come", draw="shuffled")),
    "second_round": _only(Arm("with a second round", rounds=2)),
}
"""What can be taken out, or put in another's place; a part that a version or a curriculum lacks is left out."""


def arms_of(whole: TrialsConfig, parts: Sequence[str], more: Sequence[str]) -> Chosen:
    """The whole, and each part taken out in turn.

    Args:
        whole: Configuration of what parts are taken out of.
        parts: Names of :data:`PARTS`.
        more: Further arms, ``name: key.sub=value key.sub=value``.

    Raises:
        InputError: A part that is not known, or an arm that is not understood.
        ConfigError: A value of a further arm that is out of range.
    """
    chosen = Chosen([Arm(WHOLE)])
    for part in parts:
        if part not in PARTS:
            hint = nearest_name(part, list(PARTS)) or f"There are: {', '.join(PARTS)}."
            raise InputError(f"--parts: there is no part '{part}'", hint)
        try:
            arms = PARTS[part](whole)
            for arm in arms:
                arm.config(whole)
        except ConfigError as error:
            chosen.left_out[part] = error.message
            continue
        chosen.arms.extend(arms)
    for text in more:
        arm = _parsed(text)
        arm.config(whole)
        chosen.arms.append(arm)
    _refuse_repeats(chosen.arms)
    return chosen


def first_experiments(whole: TrialsConfig, ids: int) -> Chosen:
    """The three that come first: proxies alone, the concept under a plain fusion, and the number of neighbours.

    Args:
        whole: Configuration of the whole.
        ids: Category IDs, about: where neighbours of a batch are all of them, nothing is to be seen.
    """
    chosen = arms_of(whole, ["text"], [])
    chosen.arms[1] = Arm("image only and proxies", chosen.arms[1].overrides)
    average = Arm("concept with average pooling", ("model.fusion=average",))
    try:
        average.config(whole)
        chosen.arms.append(average)
    except ConfigError as error:
        chosen.left_out[average.name] = error.message
    stage = whole.training.stages[-1]
    photos = stage.batch_size - round(stage.document_share * stage.batch_size)
    selection = whole.training.proxies.selection
    for neighbours in _NEIGHBOURS:
        name = f"K = {neighbours}"
        try:
            budget = selection.budget_for(photos * (1 + neighbours))
        except ValueError as error:
            chosen.left_out[name] = str(error)
            continue
        if budget >= ids:
            chosen.left_out[name] = (
                f"a batch and its neighbours are {budget:,} classes, and there are about {ids:,}"
            )
            continue
        keys = {"kind": "knn", "neighbours": neighbours, "budget": budget}
        chosen.arms.append(
            Arm(name, tuple(f"training.proxies.selection.{k}={v}" for k, v in keys.items()))
        )
    return chosen


def _parsed(text: str) -> Arm:
    name, separator, rest = text.partition(":")
    overrides = tuple(rest.split())
    if not name.strip() or not separator or not overrides or any("=" not in o for o in overrides):
        raise InputError(
            f"--arm '{text}': is not understood", "Write 'name: key.sub=value key.sub=value'."
        )
    return Arm(name.strip(), overrides)


def _refuse_repeats(arms: Sequence[Arm]) -> None:
    names = [re.sub(r"[^a-z0-9]+", "-", arm.name.lower()).strip("-") for arm in arms]
    for name in names:
        if not name or names.count(name) > 1:
            raise InputError(f"--arm: the name '{name}' is taken", "Give each arm another name.")
