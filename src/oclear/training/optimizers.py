"""The optimisers of a stage and their learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch

from oclear.model import TwoTowerModel
from oclear.proxies import ProxyClassifier, RowAdagrad, RowMomentum
from oclear.training.objective import Objective
from oclear.training.row_shard import RowShard
from oclear.training.stages import StageConfig

_DEPTH = {"proxies": 0, "heads": 1, "fusion": 2, "encoder": 3}
_PART_DEPTH = {"heads": 1, "fusion": 2, "concept": 2, "image_encoder": 3}
_ENCODER = "image_encoder."
_PROXIES = "proxies.weight"


class Optimizers:
    """Updates what a stage trains; everything else stops asking for gradients.

    AdamW for the model, and for proxies that are all compared with in each step; an optimiser that touches only the
    active rows for others.

    Args:
        model: Its parameters up to the depth of ``stage.trains``.
        proxies: Always learn.
        stage: Rates; its ``proxies_optimizer`` is settled.
        objective: Learns in the place of the proxies, by AdamW.
    """

    def __init__(
        self,
        model: TwoTowerModel,
        proxies: ProxyClassifier,
        stage: StageConfig,
        seed: int,
        objective: Objective | None = None,
    ) -> None:
        self._warmup = stage.warmup
        self._proxies = proxies
        self._names: dict[torch.Tensor, str] = {proxies.weight: _PROXIES}
        if objective is not None:
            self._names = {p: f"objective.{name}" for name, p in objective.named_parameters()}
        of_classes = {"params": list(self._names), "peak_lr": stage.proxies_lr}
        learning = learning_parameters(model, stage)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for name, parameter in learning:
            parameter.requires_grad_(True)
            self._names[parameter] = f"model.{name}"
        encoder = [p for name, p in learning if name.startswith(_ENCODER)]
        heads = [p for name, p in learning if not name.startswith(_ENCODER)]
        groups = [
            {"params": parameters, "peak_lr": rate, "weight_decay": stage.weight_decay}
            for parameters, rate in [*_by_layer(encoder, stage), (heads, stage.heads_lr)]
        ]
        kind = stage.proxies_optimizer if objective is None else "adamw"
        if kind == "adamw":
            groups.append(of_classes | {"weight_decay": 0.0})
        groups = [group for group in groups if group["params"]]
        self._all: list[torch.optim.Optimizer] = []
        if groups:
            self._all.append(torch.optim.AdamW(groups, lr=1.0, fused=True))
        if kind == "momentum":
            self._all.append(RowMomentum([of_classes], lr=1.0, seed=seed))
        elif kind == "adagrad":
            self._all.append(RowAdagrad([of_classes], lr=1.0, seed=seed))

    def set_rates(self, step: int, total: int) -> None:
        """Linear warm-up, then half a cosine down to zero; a function of the step alone.

        Args:
            step: From 0.
            total: Steps of the stage.
        """
        factor = rate_factor(step, total, self._warmup)
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor

    @property
    def rate(self) -> float:
        """The learning rate of now, of the deepest part that learns and its last layer."""
        return float(self._all[0].param_groups[0]["lr"])

    def zero_grad(self) -> None:
        """Before gradients are computed."""
        for optimizer in self._all:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Follows the gradients."""
        for optimizer in self._all:
            optimizer.step()

    # Checkpoints: tensors by name, so that they do not depend on the order of parameters.

    def tensors(self) -> dict[str, torch.Tensor]:
        """What the optimisers remember, as it lies in memory; that of proxies by rows."""
        found = {}
        for optimizer in self._all:
            for parameter, state in optimizer.state.items():
                for key, value in state.items():
                    name = f"{self._names[parameter]}/{key}"
                    found[name] = self._by_rows(parameter, value)
        return found

    def restore(
        self,
        layouts: Mapping[str, tuple[torch.Size, torch.dtype]],
        read: Callable[[dict[str, torch.Tensor]], None],
    ) -> None:
        """Remembers again what was saved.

        Args:
            layouts: Shape over all ranks and type of each tensor, by the names of :meth:`tensors`.
            read: Fills tensors by these names.
        """
        parameters = {name: parameter for parameter, name in self._names.items()}
        owners = {p: o for o in self._all for group in o.param_groups for p in group["params"]}
        wanted: dict[str, torch.Tensor] = {}
        for name, (shape, kind) in layouts.items():
            parameter_name, _, key = name.rpartition("/")
            parameter = parameters[parameter_name]
            tensor = self._room_for(parameter, shape, kind)
            owners[parameter].state[parameter][key] = tensor
            wanted[name] = self._by_rows(parameter, tensor)
        read(wanted)

    def _room_for(
        self, parameter: torch.Tensor, shape: torch.Size, kind: torch.dtype
    ) -> torch.Tensor:
        """An empty tensor for what is remembered of a parameter, given its shape over all ranks."""
        if parameter is self._proxies.weight and shape:
            shape = torch.Size([len(self._proxies.classes), *shape[1:]])
        if shape == parameter.shape:
            # Laid out in memory as the parameter is: a kernel goes through both side by side.
            return torch.empty_like(parameter, dtype=kind, requires_grad=False)
        # Whole numbers count steps, and stay where no kernel reads them.
        device = parameter.device if kind.is_floating_point else "cpu"
        return torch.empty(shape, dtype=kind, device=device)

    def _by_rows(self, parameter: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        if parameter is self._proxies.weight and tensor.dim():
            return RowShard(tensor, self._proxies.classes.start, self._proxies.num_classes)
        return tensor


def learning_parameters(
    model: TwoTowerModel, stage: StageConfig
) -> list[tuple[str, torch.nn.Parameter]]:
    """Names and parameters of the model that learn in a stage, in the order of the network."""
    encoder = [name for name, _ in model.named_parameters() if name.startswith(_ENCODER)]
    # The last one learns, however much is frozen: a stage that trains the encoder would train none of it.
    frozen = set(encoder[:-1][: round(stage.frozen_share * len(encoder))])
    found = []
    for name, parameter in model.named_parameters():
        # Residuals of strength 0 are multiplied by nothing, which is no gradient.
        is_idle = name.startswith("heads.residuals.") and not model.config.side_strength
        is_deep = _PART_DEPTH.get(name.split(".")[0], 99) > _DEPTH[stage.trains]
        if not (is_deep or is_idle or name in frozen):
            found.append((name, parameter))
    return found


def _by_layer(
    encoder: list[torch.nn.Parameter], stage: StageConfig
) -> list[tuple[list[torch.nn.Parameter], float]]:
    """The encoder's parameters and their peak rates, the last layer first.

    With ``encoder_lr_decay`` below 1 each has a rate of its own, falling geometrically towards the first layer (Howard
    & Ruder, "Universal Language Model Fine-tuning", 2018): early layers see edges and colours, which every shop shares.
    """
    if stage.encoder_lr_decay == 1:
        return [(encoder, stage.encoder_lr)]
    # From the last one on, which has the whole rate if it is alone.
    depths = np.linspace(0, 1, len(encoder))
    rates = stage.encoder_lr * stage.encoder_lr_decay**depths
    return [([p], float(rate)) for p, rate in zip(reversed(encoder), rates, strict=True)]


def rate_factor(step: int, total: int, warmup_share: float) -> float:
    """The share of the peak rate at a step: linear warm-up, then half a cosine down to zero.

    Example:
        >>> [round(rate_factor(step, 10, 0.2), 2) for step in (0, 1, 2, 6, 9)]
        [0.33, 0.67, 1.0, 0.5, 0.04]
    """
    warmup = warmup_share * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))
