"""Memory that a run will need, told before it starts: what fits is chosen, and what cannot fit is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from oclear.errors import InputError
from oclear.model import TwoTowerModel
from oclear.proxies import ProxyConfig, SelectionConfig, proxy_memory
from oclear.training.embedder_memory import encoding_memory, model_memory
from oclear.training.room import process_memory
from oclear.training.stages import StageConfig, TrainConfig

FULL_SOFTMAX_UP_TO = 100_000
"""Classes beyond which a step compares with the nearest ones only, unless told otherwise."""
_USABLE = 0.9  # of the room: an allocator keeps more than it gives

Kind = Literal["all", "knn", "uniform"]

_WHAT_TO_TURN = {
    "activations": "Lower batch_size or {image_size}, or take more ranks.",
    "encoding": "Lower model.image_size.",
    "proxies: step": "Lower batch_size or selection.budget, or take more ranks.",
    "proxies: graph": "Take selection.kind=uniform, fewer selection.neighbours, or more ranks.",
}
_MORE_RANKS = (
    "Take more ranks (torchrun), proxies.precision=bf16, or a smaller model.embedding_dim."
)


@dataclass(frozen=True)
class Estimate:
    """What one process needs in the stage that needs most.

    Attributes:
        config: The curriculum as it would be run.
        name: What it compares with, and in which precision.
        stage: The stage that needs most.
        parts: Bytes by part.
    """

    config: TrainConfig
    name: str
    stage: str
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


def estimate_memory(
    config: TrainConfig, model: TwoTowerModel, num_classes: int, ranks: int
) -> list[Estimate]:
    """What the configuration needs, and what the choices need that may take its place, in the order of preference.

    Args:
        config: Where it is not ``automatic``, it is the only choice.
        model: Measured by trial, and left as it was.
        num_classes: Of all ranks.
        ranks: How many share batch and classes.
    """
    process = process_memory(model)  # before the trials, whose memory stays with the process
    encoding = encoding_memory(model)
    of_model = [
        model_memory(model, stage, -(-stage.batch_size // ranks)) for stage in config.stages
    ]
    found = []
    for choice in _choices(config, num_classes):
        settled = choice.resolve(num_classes)
        needs = [
            _of_proxies(settled.proxies, stage, model, num_classes, ranks) | part
            for stage, part in zip(settled.stages, of_model, strict=True)
        ]
        for need in needs:
            # Features are computed before the steps of a stage are taken: the larger of the two counts.
            steps = need["activations"] + need["proxies: step"]
            need |= {"encoding": max(0, encoding - steps), "process": process}
        totals = [sum(need.values()) for need in needs]
        largest = totals.index(max(totals))
        stage = settled.stages[largest].name
        found.append(Estimate(choice, _name(choice), stage, needs[largest]))
    return found


def choose(found: list[Estimate], room: int) -> tuple[TrainConfig, str]:
    """The first choice that fits, and the reason in one line.

    Args:
        found: By :func:`estimate_memory`.
        room: Bytes that a process may have in all.

    Raises:
        InputError: None fits.
    """
    usable = _USABLE * room
    for taken in found:
        if taken.total <= usable:
            reason = f"{gigabytes(taken.total)} of {gigabytes(room)} GB a process"
            if taken is not found[0]:
                reason += f"; {found[0].name} would need {gigabytes(found[0].total)} GB"
            return taken.config, f"{taken.name}: {reason}"
    least = min(found, key=lambda one: one.total)
    part = max(least.parts, key=lambda name: least.parts[name])
    hint = _WHAT_TO_TURN.get(part, _MORE_RANKS)
    raise InputError(
        f"stage '{least.stage}' needs {gigabytes(least.total)} GB a process and may have {gigabytes(usable)}: "
        f"{least.name}; {gigabytes(least.parts[part])} GB of it for '{part}'",
        hint.format(image_size=_image_size_of(least)),
    )


def _image_size_of(estimate: Estimate) -> str:
    """The key that the size of the stage's pictures comes from."""
    for number, stage in enumerate(estimate.config.stages):
        if stage.name == estimate.stage and stage.image_size is not None:
            return f"training.stages.{number}.image_size"
    return "model.image_size"


def gigabytes(size: float) -> str:
    """A number of bytes for people.

    Example:
        >>> gigabytes(12_300_000_000), gigabytes(50_000_000)
        ('12.3', '0.05')
    """
    return f"{size / 1e9:,.1f}" if size >= 1e9 else f"{size / 1e9:.2g}"


def _of_proxies(
    proxies: ProxyConfig, stage: StageConfig, model: TwoTowerModel, num_classes: int, ranks: int
) -> dict[str, int]:
    assert stage.selection is not None
    assert stage.proxies_optimizer != "auto"
    found = proxy_memory(
        num_classes,
        model.config.embedding_dim,
        proxies.model_copy(update={"selection": stage.selection}),
        batch=stage.batch_size,
        ranks=ranks,
        optimizer=stage.proxies_optimizer,
        on_gpu=model.device.type == "cuda",
    )
    # What start and sorting take is given back before the steps: only what goes beyond them counts.
    sorting = max(0, found.sorting - found.step)
    start = max(0, found.start - found.optimizer - found.step - sorting)
    parts = {**asdict(found), "sorting": sorting, "start": start}
    return {f"proxies: {name}": size for name, size in parts.items()}


def _choices(config: TrainConfig, num_classes: int) -> Iterator[TrainConfig]:
    """The configuration as it is, unless it is known to be too slow, and what may take its place."""
    selections = [stage.selection or config.proxies.selection for stage in config.stages]
    compares_with_all = any(selection.kind == "all" for selection in selections)
    # AdamW, where it is asked for by name, goes with all classes in fp32 only.
    is_bound = not config.automatic or any(s.proxies_optimizer == "adamw" for s in config.stages)
    if is_bound or not compares_with_all or num_classes <= FULL_SOFTMAX_UP_TO:
        yield config
    if is_bound:
        return
    fewer = "knn" if config.proxies.sub_centres == 1 else "uniform"
    if compares_with_all:
        yield _with(config, {"all": fewer}, config.proxies.precision)
    if config.proxies.precision == "fp32":
        yield _with(config, {"all": fewer}, "bf16")
    if any(selection.kind != "uniform" for selection in selections):
        yield _with(config, {"all": "uniform", "knn": "uniform"}, "bf16")


def _with(config: TrainConfig, kinds: dict[str, str], precision: str) -> TrainConfig:
    """The same with other kinds of selection and another precision."""

    def changed(selection: SelectionConfig) -> SelectionConfig:
        kind = kinds.get(selection.kind, selection.kind)
        return selection.model_copy(update={"kind": kind})

    proxies = config.proxies.model_copy(
        update={"precision": precision, "selection": changed(config.proxies.selection)}
    )
    stages = tuple(
        stage.model_copy(update={"selection": changed(stage.selection)})
        if stage.selection
        else stage
        for stage in config.stages
    )
    return config.model_copy(update={"proxies": proxies, "stages": stages})


def _name(config: TrainConfig) -> str:
    kinds = dict.fromkeys(
        (stage.selection or config.proxies.selection).kind for stage in config.stages
    )
    names = {"all": "all classes", "knn": "nearest classes", "uniform": "random classes"}
    return f"{' and '.join(names[kind] for kind in kinds)} in {config.proxies.precision}"
