"""One stage's learning: a step from inputs to updated weights."""

from __future__ import annotations

import math
import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.parallel import DistributedDataParallel

from oclear.model import TwoTowerModel
from oclear.proxies import ProxyClassifier
from oclear.training.alignment import alignment_losses
from oclear.training.averaging import WeightAverage
from oclear.training.checkpoint import Saved
from oclear.training.embedder import Embedder, Inputs
from oclear.training.objective import Objective
from oclear.training.optimizers import Optimizers, learning_parameters
from oclear.training.ranks import Ranks
from oclear.training.sources import Rows
from oclear.training.stage_data import StageData
from oclear.training.stages import StageConfig

_NEITHER = -1
"""In the place of 0 for a photo and 1 for a document; as a label, none."""


class Learner:
    """Takes the steps of a stage.

    Args:
        model: Learns as deep as the stage says; replicated over the ranks, gradients averaged by DDP.
        proxies: Learn; each rank has its rows.
        stage: Rates and ramps, all settled.
        data: What is learned from.
        total: Steps of the stage.
        seed: Of the run.
        ranks: Who shares a batch.
        objective: What embeddings are asked for in the place of classification among the proxies.
    """

    def __init__(
        self,
        model: TwoTowerModel,
        proxies: ProxyClassifier,
        stage: StageConfig,
        data: StageData,
        total: int,
        seed: int,
        ranks: Ranks,
        objective: Objective | None = None,
    ) -> None:
        if objective is not None and stage.alignment:
            raise ValueError("alignment adds to classification; an objective takes its place")
        self.objective = objective
        self.proxies, self.stage, self.data, self.total = proxies, stage, data, total
        self.seed, self.ranks, self.device = seed, ranks, model.device
        self.sample_losses = torch.empty(0)
        self.optimizers = Optimizers(model, proxies, stage, seed, objective)
        learning = dict(learning_parameters(model, stage))
        self.average = WeightAverage(learning, stage.averaging) if stage.averaging else None
        self.embedder = Embedder(model, data.level)
        self._embedder_in_parallel: torch.nn.Module = self.embedder
        if ranks.count > 1 and any(p.requires_grad for p in model.parameters()):
            with warnings.catch_warnings():
                # The new name of the option is not known to the older versions of torch that we run with.
                warnings.filterwarnings("ignore", category=FutureWarning)
                # Batch statistics are never updated, so there is nothing to send around in every step.
                self._embedder_in_parallel = DistributedDataParallel(
                    self.embedder, broadcast_buffers=False
                )

    def train_step(self, step: int, total_step: int, rows: Rows, inputs: Inputs) -> float:
        """One step; gives the loss of the whole batch, the same on every rank.

        Where the loss is not finite, nothing is updated.

        Args:
            step: Steps of the stage that are done.
            total_step: Steps of the run that are done.
            rows: This rank's samples; their own losses are in ``sample_losses`` afterwards.
            inputs: Theirs.
        """
        self.optimizers.zero_grad()  # here, so that gradients of the step before take no room beside the logits
        # Dropout then depends on the step alone, and a resumed run repeats that of the unbroken one.
        torch.manual_seed(self.seed * 1_000_003 + total_step + 7_919 * self.ranks.rank)
        embeddings = self._embedder_in_parallel(inputs.to(self.device), self.stage.dropout)
        asked = self._asked(embeddings, step, rows, inputs)
        loss = float(asked.item())
        if math.isfinite(loss):
            self.optimizers.set_rates(step, self.total)
            asked.backward()  # type: ignore[no-untyped-call]
            self.optimizers.step()
            self.proxies.advance()
            if self.average is not None:
                self.average.update(step)
        return loss

    def _asked(
        self, embeddings: torch.Tensor, step: int, rows: Rows, inputs: Inputs
    ) -> torch.Tensor:
        """The loss, a scalar that all ranks have alike; that of each sample is in ``sample_losses``."""
        loss: torch.Tensor
        samples = self.data.samples
        labels = torch.from_numpy(samples.labels[rows]).to(self.device)
        if self.objective is not None:
            is_document = inputs.is_document.to(self.device)
            loss = self.objective(embeddings, labels[:, 0], is_document)
            self.sample_losses = loss.detach().expand(len(rows))
            return loss
        label_weights = torch.from_numpy(samples.label_weights[rows]).to(self.device)
        ids = torch.where(labels < samples.num_ids, labels, -1)
        # How sure governance is of a photo is how much it counts.
        weights = (label_weights * (ids >= 0)).sum(dim=1).clamp(max=1.0)
        output = self.proxies(
            embeddings,
            labels,
            label_weights,
            sample_weights=weights,
            margin_share=self._margin_share(step),
        )
        self.sample_losses = output.sample_losses
        loss = output.loss
        if self.stage.alignment:
            # By IDs: a document that has no more than the coarse label in common is none of the photo's.
            loss = loss + self.stage.alignment * self._alignment(
                embeddings, inputs.is_document, ids, label_weights, self._margin_share(step)
            )
        return loss

    def _alignment(
        self,
        embeddings: torch.Tensor,
        is_document: torch.Tensor,
        labels: torch.Tensor,
        label_weights: torch.Tensor,
        margin_share: float,
    ) -> torch.Tensor:
        """The mean loss of all ranks' photos among all ranks' documents, the same on every rank."""
        kind = is_document.to(labels).unsqueeze(1)
        numbers, label_weights, vectors = self._everyones(
            torch.cat([kind, labels], dim=1), label_weights.float(), embeddings.float()
        )
        kind, labels = numbers[:, 0], numbers[:, 1:]
        is_photo, is_document = kind == 0, kind == 1
        config = self.proxies.config
        losses, weights = alignment_losses(
            vectors[is_photo],
            vectors[is_document],
            labels[is_photo],
            label_weights[is_photo],
            labels[is_document],
            margin=(config.margin_size or 0.0) * margin_share,
            scale=config.scale or 1.0,
        )
        loss = (losses * weights).sum() / weights.sum().clamp(min=1e-12)
        # Each rank has the gradient of its own embeddings. DDP averages where the sum is the gradient of the loss.
        return loss + (self.ranks.count - 1) * (loss - loss.detach())

    def _everyones(self, *own: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The rows of all ranks, padded by ``_NEITHER`` to the longest; its own have their gradients. Collective."""
        shards = self.proxies.shards
        if shards.ranks == 1:
            return own
        longest = int(shards.maximum(torch.tensor(len(own[0]), device=own[0].device)))
        before, after = shards.rank * longest, (shards.rank + 1) * longest
        found = []
        for rows in own:
            padded = rows.new_full((longest, *rows.shape[1:]), _NEITHER)
            padded[: len(rows)] = rows
            everyones = shards.gather(padded.detach())
            found.append(torch.cat([everyones[:before], padded, everyones[after:]]))
        return tuple(found)

    # Averaged weights and checkpoints

    def averaged(self) -> AbstractContextManager[None]:
        """The model has its averaged weights while the block runs, where the stage averages."""
        return self.average.applied() if self.average is not None else nullcontext()

    def finish(self) -> None:
        """At the end of the stage: averaged weights, where there are any, become the model's."""
        if self.average is not None:
            self.average.keep()

    def tensors(self) -> dict[str, torch.Tensor]:
        """What the stage remembers beside the weights, by name, as it lies in memory."""
        found = {f"optimizer/{name}": value for name, value in self.optimizers.tensors().items()}
        if self.average is not None:
            found |= {f"average/{name}": value for name, value in self.average.tensors().items()}
        return found

    def restore(self, saved: Saved) -> None:
        """Remembers again what was saved. Collective."""
        self.optimizers.restore(*saved.part("optimizer/"))
        if self.average is not None:
            _, read = saved.part("average/")
            read(self.average.tensors())

    @torch.inference_mode()
    def embed(self, inputs: Inputs) -> torch.Tensor:
        """Embeddings (n, dim) as they are in use: no dropout, no gradients."""
        embeddings: torch.Tensor = self.embedder(inputs.to(self.device))
        return embeddings

    def _margin_share(self, step: int) -> float:
        """How much of the margin is asked for at a step, 0 to 1."""
        ramp = self.stage.margin_ramp * self.total
        return min(1.0, step / ramp) if ramp else 1.0
