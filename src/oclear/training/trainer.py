"""The training run: stages one after the other, validated, saved, taken up again after a kill."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from oclear.errors import InputError
from oclear.model import TwoTowerModel
from oclear.progress import Reporter
from oclear.proxies import ProxyClassifier, ProxyState, SelectionConfig
from oclear.training.checkpoint import Checkpoints, Progress, Saved
from oclear.training.data import TrainingData
from oclear.training.embedder import Inputs
from oclear.training.health import Health
from oclear.training.learner import Learner
from oclear.training.metrics import END, MetricsLog
from oclear.training.objective import Objective
from oclear.training.proxy_start import members_of
from oclear.training.ranks import Ranks
from oclear.training.row_shard import RowShard
from oclear.training.sampler import BalancedSampler, Sampling
from oclear.training.sources import Rows
from oclear.training.stage_data import CACHED_LEVEL, StageData, StageOpener
from oclear.training.stages import StageConfig, TrainConfig
from oclear.training.text_expectation import can_expect, fit_expectation, measure_drawing
from oclear.training.validation import ValidationSet, validate

_LOG_EVERY = 20  # steps
_WORTH_A_SAVE = 10  # times what a save took are trained before the next


@dataclass(frozen=True)
class TrainResult:
    """What a finished run reports.

    Attributes:
        final_loss: Loss of the last step.
        best_score: Best validation Identical@1, None where there was nothing to validate on.
        best_stage: The stage it was reached in; empty where it was the untrained start.
        steps: Steps of all stages.
    """

    final_loss: float
    best_score: float | None
    best_stage: str
    steps: int


class Trainer:
    """Trains a model and its proxies through the stages of a curriculum.

    The encoders stay in ``eval`` mode throughout, also where they learn: batch statistics of a few dozen pictures,
    half of them on white, would only disturb the pretrained ones.

    Args:
        model: Learns in place.
        data: What to learn.
        validation: Held-out photos, or None.
        config: The curriculum; what it leaves on ``auto`` is settled here by the number of classes.
        folder: For ``checkpoints/`` and ``metrics.jsonl``.
        reporter: Says what happens.
        new_heads: Whether the heads are new and shall start from the training pictures.
        cache: For what frozen parts of the model give.
        ranks: The processes that train together; each makes its own trainer of the same arguments. One alone needs
            no process group.
        objective: What embeddings are asked for in the place of classification among the proxies, which then lie
            idle; for a process alone.
        sampling: Makes the sampler of each stage.
    """

    def __init__(
        self,
        model: TwoTowerModel,
        data: TrainingData,
        validation: ValidationSet | None,
        config: TrainConfig,
        folder: Path,
        reporter: Reporter,
        *,
        new_heads: bool,
        cache: Path,
        ranks: Ranks | None = None,
        objective: Objective | None = None,
        sampling: Sampling = BalancedSampler,
    ) -> None:
        self.model = model.eval()
        model.expectation = None  # of a model that training starts from: fitted anew at the end
        self.data, self.validation = data, validation
        self.config = config.resolve(data.samples.num_classes)
        self.folder, self.reporter, self.new_heads, self.cache = folder, reporter, new_heads, cache
        self.ranks = ranks or Ranks()
        self.sampling = sampling
        is_shared = self.ranks.count > 1
        if is_shared and objective is not None:
            raise ValueError("an objective compares within the batch of one process")
        self.objective = None if objective is None else objective.to(model.device)
        # Nearest classes are often twins by mistake; among all classes, look-alikes are few, and to be told apart.
        is_selective = any(self._selection(stage).kind != "all" for stage in self.config.stages)
        torch.manual_seed(config.seed)
        self.proxies = ProxyClassifier(
            data.samples.num_classes,
            model.config.embedding_dim,
            self.config.proxies,
            group=dist.group.WORLD if is_shared else None,
            seed=config.seed,
            links=torch.from_numpy(data.links if is_selective else data.links[:0]),
            class_sizes=torch.from_numpy(data.samples.class_sizes()),
            encoders_average=is_shared,
            device=model.device,
        )
        self.checkpoints = Checkpoints(folder / "checkpoints", self.ranks)
        self.metrics = MetricsLog(folder / "metrics.jsonl", is_writing=self.ranks.is_main)
        self.progress = Progress(samples=data.samples.fingerprint())
        self._save_seconds = 0.0

    def run(self) -> TrainResult:
        """Trains to the end, from the last checkpoint where there is one; the best weights remain."""
        self._warn_of_small_pictures()
        saved = self._restore()
        self.opener = StageOpener(
            self.model,
            self.data,
            self.config,
            self.folder,
            self.cache,
            self.reporter,
            self.ranks,
            self.sampling,
        )
        if saved is not None:
            self.opener.restore()
        while self.progress.stage < len(self.config.stages):
            self._run_stage(self.config.stages[self.progress.stage], saved)
            saved = None
            self.progress.stage, self.progress.step = self.progress.stage + 1, 0
            self._save(None)
        if (best := self.checkpoints.best()) is not None:
            best.read(self._weights())
        progress = self.progress
        score = progress.best_score if best is not None else None
        if can_expect(self.model):
            score = self._expect_from_texts(score)
        return TrainResult(progress.loss, score, progress.best_stage, progress.total_step)

    def _run_stage(self, stage: StageConfig, saved: Saved | None) -> None:
        data = self._open(stage)
        total = max(1, round(stage.epochs * data.sampler.steps_per_epoch))
        total = min(total, stage.max_steps or total)
        self.reporter.say(
            f"stage '{stage.name}': {len(data.samples):,} samples of {data.sampler.num_classes:,} IDs, "
            f"trains {stage.trains}, {total:,} steps of {stage.batch_size}"
        )
        learner = Learner(
            self.model,
            self.proxies,
            stage,
            data,
            total,
            self.config.seed,
            self.ranks,
            self.objective,
        )
        texts = self.opener.texts
        health = Health(stage, data, texts, self.reporter, self.metrics, self.ranks)
        if self.progress.total_step == 0:
            self._validate("start", learner)
        if self.progress.step == 0:
            self._start_proxies(learner)
        elif saved is not None:
            learner.restore(saved)
        looks = _marks(total, self.config.validations)
        # Proxies alone change no embedding, so one look at the end is enough.
        validations = {total} if stage.trains == "proxies" else looks
        clock = began = time.monotonic()
        graph_before = self._graph_seconds()
        with self.reporter.task(f"stage '{stage.name}'", total) as task:
            task.advance(self.progress.step)
            for rows, inputs in data.source.steps(self.progress.step, total):
                self._train_step(learner, health, rows, inputs)
                task.advance()
                if self.progress.step in validations:
                    self._validate(stage.name, learner)
                if self.progress.step in looks:
                    health.look(self.progress, self.model, self.proxies)
                if self._is_time_to_save(clock):
                    self._save(learner)
                    clock = time.monotonic()
        learner.finish()
        # On a GPU the clock would tell when work was given out, not when it was done.
        if self.proxies.graph is not None and self.model.device.type == "cpu":
            share = (self._graph_seconds() - graph_before) / (time.monotonic() - began)
            self.reporter.say(f"  {stage.name}: {share:.0%} of this run's time went into the graph")

    def _graph_seconds(self) -> float:
        return 0.0 if self.proxies.graph is None else self.proxies.graph.seconds

    def _train_step(self, learner: Learner, health: Health, rows: Rows, inputs: Inputs) -> None:
        progress = self.progress
        progress.loss = learner.train_step(progress.step, progress.total_step, rows, inputs)
        if not math.isfinite(progress.loss):
            health.stop(progress, rows, learner.sample_losses)
        if progress.step % _LOG_EVERY == 0 or progress.step == learner.total - 1:
            values = {"loss": progress.loss, "lr": learner.optimizers.rate}
            self.metrics.write(
                learner.stage.name, progress.step + 1, progress.total_step + 1, **values
            )
        progress.step += 1
        progress.total_step += 1

    def _warn_of_small_pictures(self) -> None:
        """Said before hours are spent: pictures are searched at a size that the encoder did not learn last."""
        size = self.model.preprocessing.size
        last = next((s for s in reversed(self.config.stages) if s.trains == "encoder"), None)
        if last is not None and last.trained_size(size) != size:
            self.reporter.say(
                f"warning: stage '{last.name}' is the last to train the encoder, on pictures of {last.image_size} px, "
                f"and the model is searched at {size}. End on a stage without image_size, or lower model.image_size."
            )

    # The start of a stage

    def _open(self, stage: StageConfig) -> StageData:
        if self.progress.total_step == 0 and self.new_heads:
            self.opener.start_heads(CACHED_LEVEL[stage.trains])
            self.ranks.share_weights(self.model)
        if self.progress.step == 0:
            self.proxies.set_selection(self._selection(stage))
        return self.opener.open(stage, self.progress.stage)

    def _selection(self, stage: StageConfig) -> SelectionConfig:
        return stage.selection or self.config.proxies.selection

    def _start_proxies(self, learner: Learner) -> None:
        if learner.stage.proxies_start == "class_means":
            classes, data = self.proxies.classes, learner.data
            members = members_of(classes, data.samples, data.source, learner.embed)
            self.proxies.start_from_means(members)
        elif learner.stage.proxies_start == "random":
            self.proxies.start_at_random(self.config.seed)

    # The end

    def _expect_from_texts(self, score: float | None) -> float | None:
        """Draws documents to what their texts let expect, unless validation photos find less by it.

        Args:
            score: On validation photos as they are, where there are any.

        Returns:
            The score that the model leaves with.
        """
        data = self.opener.open(self._last_stage(), len(self.config.stages) - 1)
        share = fit_expectation(self.model, data, self.ranks)
        expectation = self.model.expectation
        if expectation is None:
            self.reporter.say(
                f"texts foretell next to nothing ({share:.1%}) of how documents differ"
            )
            return score
        note = f"texts foretell {share:.0%} of how documents differ"
        if self.validation is None or score is None or not float(expectation.strength):
            self.reporter.say(note)
            return score
        drawn = measure_drawing(self.model, data, self.validation, self.ranks)
        if not drawn.helps:
            expectation.strength.zero_()
        before, after = drawn.before, drawn.after
        kept = "drawn to their texts" if drawn.helps else "left as they are"
        self.reporter.say(
            f"{note}; drawn to that, Identical@1 is {after.identical_at_1:.4f} instead of {before.identical_at_1:.4f}, "
            f"the mean reciprocal rank {after.mean_reciprocal_rank:.4f} instead of {before.mean_reciprocal_rank:.4f}: "
            f"{kept}"
        )
        self.metrics.write(
            END,
            0,
            self.progress.total_step,
            texts_foretell=share,
            documents_are_drawn=drawn.helps,
            as_they_are=before._asdict(),
            drawn=after._asdict(),
        )
        return (after if drawn.helps else before).identical_at_1

    def _last_stage(self) -> StageConfig:
        """A stage whose data show the pictures of documents as the model sees them now.

        Features that are on disk do, where every stage left the encoder alone and they have nothing of the texts in
        them. Else pictures are encoded once more, those that are asked for and no others.
        """
        last = self.config.stages[-1]
        trained = {stage.trains for stage in self.config.stages}
        is_picture = self.new_heads and self.model.config.fusion != "average"
        if trained == {"fusion"} or (trained == {"heads"} and is_picture):
            return last
        return last.model_copy(update={"trains": "encoder", "image_size": None})

    # Validation and checkpoints

    def _validate(self, stage: str, learner: Learner) -> None:
        """Notes how good the model is, and keeps it where it is the best so far."""
        if self.validation is None:
            return
        with learner.averaged():
            self._note_and_keep(stage, learner, self.validation)

    def _note_and_keep(self, stage: str, learner: Learner, validation: ValidationSet) -> None:
        progress, source = self.progress, learner.data.source
        score = validate(validation, self.data.documents, source, learner.embed, self.ranks)
        self.metrics.write(
            stage, progress.step, progress.total_step, validation_identical_at_1=score
        )
        # A stage of proxies alone leaves the model as it was: the same score, with proxies that know more.
        is_as_good = score == progress.best_score and learner.stage.trains == "proxies"
        note = ""
        if score > progress.best_score or is_as_good:
            note = ", the best so far"
            progress.best_score, progress.best_stage = score, stage
            self.checkpoints.save_best(progress, self._weights())
        self.reporter.say(
            f"  {stage}, step {progress.step:,}: Identical@1 {score:.4f} "
            f"on {len(validation.queries):,} validation photos ({validation.source}){note}"
        )

    def _is_time_to_save(self, clock: float) -> bool:
        """Whether the last save is long enough ago, which rank 0 decides for all."""
        minutes = self.config.checkpoint_minutes
        if self.ranks.count > 1 and minutes and self.progress.step % _LOG_EVERY:
            return False  # asking costs the ranks a message to each other
        wait = max(60 * minutes, _WORTH_A_SAVE * self._save_seconds) if minutes else 0.0
        return self.ranks.from_main(time.monotonic() - clock > wait)

    def _weights(self) -> dict[str, torch.Tensor]:
        """The weights of model and proxies by name, as they lie in memory: to save, or to load into."""
        weights = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        if self.objective is not None:
            learned = self.objective.state_dict().items()
            weights |= {f"objective/{name}": value for name, value in learned}
        return {**weights, "proxies/weight": self._by_rows(self.proxies.weight)}

    def _by_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        return RowShard(tensor, self.proxies.classes.start, self.proxies.num_classes)

    def _proxy_tensors(self, state: ProxyState) -> dict[str, torch.Tensor]:
        rows = {f"proxies/{name}": self._by_rows(value) for name, value in state.rows.items()}
        prefix = f"proxies of rank {self.ranks.rank}"
        return rows | {f"{prefix}/{name}": value for name, value in state.rank.items()}

    def _save(self, learner: Learner | None) -> None:
        """Saves all of the run; between two stages there is no learner."""
        started = time.monotonic()
        state = self.proxies.export_state()
        self.progress.proxies = state.plain
        tensors = learner.tensors() if learner else {}
        tensors |= self._weights() | self._proxy_tensors(state)
        self.checkpoints.save_last(self.progress, tensors)
        self._save_seconds = time.monotonic() - started

    def _restore(self) -> Saved | None:
        """Goes back to the last checkpoint."""
        saved = self.checkpoints.last()
        if saved is None:
            self.metrics.cut(-1)
            return None
        if saved.progress.samples != self.progress.samples:
            raise InputError(
                f"{self.folder}: the run began with other samples than it is to go on with",
                "Give the samples, items and queries of then, or start again with --overwrite.",
            )
        self.progress = saved.progress
        # Between two stages, the graph that was saved is of the one before.
        in_force = self.config.stages[max(0, self.progress.stage - (self.progress.step == 0))]
        self.proxies.set_selection(self._selection(in_force))
        state = self.proxies.empty_state(self.progress.proxies)
        saved.read(self._weights() | self._proxy_tensors(state))
        self.proxies.import_state(state)
        self.metrics.cut(self.progress.total_step)
        self.reporter.say(f"going on from step {self.progress.total_step:,}")
        return saved


def _marks(total: int, count: int) -> set[int]:
    """Steps that part a stage evenly, its last one among them."""
    return {-(-total * mark // count) for mark in range(1, count + 1)}
