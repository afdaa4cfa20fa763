"""Watches a stage: what goes wrong is logged, and said with what to do, long before validation shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import torch

from oclear.errors import OclearError
from oclear.model import TwoTowerModel
from oclear.progress import Reporter
from oclear.proxies import ProxyClassifier
from oclear.training.cached_features import TextCache
from oclear.training.checkpoint import Progress
from oclear.training.metrics import MetricsLog
from oclear.training.ranks import Ranks
from oclear.training.signs import concept_signs, proxy_signs
from oclear.training.sources import Rows
from oclear.training.stage_data import StageData
from oclear.training.stages import StageConfig

_NAMED = 3


@dataclass(frozen=True)
class Sign:
    """Something to watch.

    Attributes:
        is_bad: Whether a value is.
        message: What it means, with a place for the value.
        hint: What to do.
        worst: Of the values of all ranks.
    """

    is_bad: Callable[[float], bool]
    message: str
    hint: str
    worst: Callable[[list[float]], float] = max


SIGNS = {
    "proxy_mean_cosine": Sign(
        lambda value: value > 0.5,
        "proxies collapse: two of them have a cosine of {:.2f} on average",
        "Lower proxies_lr, or give the stage proxies_start: class_means.",
    ),
    "proxy_rank_share": Sign(
        lambda value: value < 0.05,
        "proxies collapse: they span {:.1%} of the directions that they could",
        "Lower proxies_lr, lengthen margin_ramp, or give the stage proxies_start: class_means.",
        min,
    ),
    "proxy_largest_norm": Sign(
        lambda value: not value < 100,
        "proxy norms explode: the largest is {:.3g}, and all began at about 1",
        "Lower proxies_lr: the longer a proxy is, the less a step turns it.",
    ),
    "dead_memory_slots": Sign(
        lambda value: value > 0.5,
        "{:.0%} of the memory slots look at all words alike, and so read the same of every text",
        "Lower model.memory_slots, or heads_lr of the stage in which fusion learns.",
    ),
    "concept_mean_cosine": Sign(
        lambda value: value > 0.98,
        "concepts are nearly constant, so texts tell nothing apart: their mean cosine is {:.4f}",
        "Raise heads_lr or epochs where fusion learns; look whether titles say anything.",
    ),
    "graph_recall": Sign(
        lambda value: value < 0.5,
        "the neighbour graph knows {:.0%} of the nearest proxies",
        "If it knew more at first, it is stale: raise selection.refresh_share, or lower proxies_lr. If not, its lists "
        "are too coarse for these proxies: raise selection.exact_up_to where the time allows.",
        min,
    ),
}


class Health:
    """Watches a stage. All methods are collective.

    Args:
        stage: Which.
        data: What it learns from.
        texts: Token features of the items, None where there are none.
        reporter: Gets each warning once.
        metrics: Gets every value.
        ranks: Whose proxies are looked at.
    """

    def __init__(
        self,
        stage: StageConfig,
        data: StageData,
        texts: TextCache | None,
        reporter: Reporter,
        metrics: MetricsLog,
        ranks: Ranks,
    ) -> None:
        self.stage, self.data, self.texts, self.ranks = stage, data, texts, ranks
        self.reporter, self.metrics = reporter, metrics
        self._said: set[str] = set()

    def look(self, progress: Progress, model: TwoTowerModel, proxies: ProxyClassifier) -> None:
        """Measures all signs, logs them, and warns of bad ones."""
        mine = proxy_signs(proxies.centres)
        if self.texts is not None and self.stage.trains in ("fusion", "encoder"):
            mine |= concept_signs(model.concept, self.texts)
        if proxies.graph is not None:
            mine["graph_recall"] = proxies.graph_recall()
        everyones = self.ranks.gather(mine)
        values = {
            name: sign.worst(found)
            for name, sign in SIGNS.items()
            if (found := [signs[name] for signs in everyones if name in signs])
        }
        self.metrics.write(self.stage.name, progress.step, progress.total_step, **values)
        for name, value in values.items():
            sign = SIGNS[name]
            if sign.is_bad(value) and name not in self._said:
                self._said.add(name)
                self.reporter.say(f"warning: {sign.message.format(value)}. {sign.hint}")

    def stop(self, progress: Progress, rows: Rows, sample_losses: torch.Tensor) -> NoReturn:
        """Ends the run over a loss that is not finite. Nothing has been updated, and the last checkpoint is kept.

        Args:
            progress: Of the steps before this one.
            rows: This rank's samples of the batch.
            sample_losses: Theirs.

        Raises:
            OclearError: Always; names step, stage and the samples.
        """
        bad = rows[~sample_losses.isfinite().cpu().numpy()]
        # Where each sample's loss is finite, the weights are not, and any of the batch may have brought it about.
        blamed = [name for part in self.ranks.gather(self._names(bad)) for name in part]
        batch = [name for part in self.ranks.gather(self._names(rows)) for name in part]
        names = blamed or batch
        self.metrics.write(
            self.stage.name,
            progress.step,
            progress.total_step,
            not_finite=names,
        )
        named = ", ".join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])
        raise OclearError(
            f"the loss is {progress.loss} at step {progress.step} of stage '{self.stage.name}' "
            f"({len(blamed)} of {len(batch)} samples; {named})",
            "Lower the learning rates of this stage and start again with --overwrite; metrics.jsonl names the samples.",
        )

    def _names(self, rows: Rows) -> list[str]:
        """Side, key and picture number of samples."""
        samples, names = self.data.samples, []
        for row in rows.tolist():
            pictures = self.data.documents if samples.is_document[row] else self.data.queries
            picture = samples.picture[row]
            names.append(f"{pictures.side} {pictures.keys[picture]}/{pictures.parts[picture]}")
        return names
