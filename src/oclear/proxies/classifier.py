"""The proxies of all category IDs, and the loss that compares a batch with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from oclear.proxies.active import AllClasses, NearestClasses, Selection, UniformClasses
from oclear.proxies.active.links import Links
from oclear.proxies.batch import gather_batch
from oclear.proxies.config import ProxyConfig, SelectionConfig
from oclear.proxies.function import proxy_loss
from oclear.proxies.graph import NeighbourGraph
from oclear.proxies.graph.schedule import blocks_due, blocks_per_step
from oclear.proxies.loss import MarginSoftmax
from oclear.proxies.margins import MARGINS, frequency_shares
from oclear.proxies.shards import Shards
from oclear.proxies.start import class_means, random_directions
from oclear.proxies.state import Plain, ProxyState

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class ProxyOutput:
    """The result of a step.

    Attributes:
        loss: Mean over the batches of all ranks by sample weight, scalar fp32; the same on all ranks.
        sample_losses: Of this rank's samples, (batch,) fp32, detached.
    """

    loss: torch.Tensor
    sample_losses: torch.Tensor


class ProxyClassifier(nn.Module):
    """One learned vector per category ID; training classifies embeddings among them.

    | input | shape | meaning |
    |---|---|---|
    | embeddings | (batch, dim) | of queries and documents alike; normalised here |
    | labels | (batch, P) int64 | class indices, -1 where padded, none twice in a row |
    | label_weights | (batch, P) | how much each label counts within its sample |
    | sample_weights | (batch,) | how much each sample counts within the batch |

    With a group, classes are spread over its ranks and every rank brings its own batch. All ranks then call
    ``forward``, ``advance`` and ``graph_recall`` equally often; batches may differ in size, and be empty. Loss and
    gradients are those of one process with all classes and all batches. Without a group that is what there is.

    Args:
        num_classes: Number of category IDs, of all ranks.
        dim: Dimension of the embeddings.
        config: Margin, scale, precision, selection.
        group: The ranks that share the classes.
        seed: Of the first directions and of all draws; a draw depends on it and on the step alone.
        links: Classes that are not pushed apart, (L, 2) int64.
        class_sizes: Samples of each class, (num_classes,), for margins by frequency.
        encoders_average: Multiplies the gradients of embeddings by the number of ranks: DDP, which averages the
            gradients of the encoders, then sums them, which is the gradient of the loss.
        device: Where the proxies are made; they can be moved later.

    Attributes:
        weight: This rank's proxies, (len(classes), sub_centres * dim).
        step: Steps done.
        graph: The neighbours of each class, once a step has needed them.

    Example:
        >>> classifier = ProxyClassifier(num_classes=10, dim=4)
        >>> output = classifier(torch.randn(2, 4), torch.tensor([[3, -1], [1, 7]]))
        >>> output.sample_losses.shape
        torch.Size([2])
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        config: ProxyConfig | None = None,
        *,
        group: dist.ProcessGroup | None = None,
        seed: int = 0,
        links: torch.Tensor | None = None,
        class_sizes: torch.Tensor | None = None,
        encoders_average: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.config = (config or ProxyConfig()).resolve(num_classes)
        self.shards = Shards(num_classes, group)
        self.seed, self.step = seed, 0
        self._embedding_factor = self.shards.ranks if encoders_average else 1
        dtype = _DTYPES[self.config.precision]
        self.dim = dim
        width = self.config.sub_centres * dim
        self.weight = nn.Parameter(
            torch.empty(len(self.classes), width, dtype=dtype, device=device)
        )
        shares = None
        if self.config.margin_frequency:
            if class_sizes is None:
                raise ValueError("margins by frequency need class_sizes")
            of_all = frequency_shares(class_sizes, self.config.margin_frequency)
            shares = of_all[self.classes.start : self.classes.stop].to(device)
        self._margin_shares: torch.Tensor | None
        self.register_buffer("_margin_shares", shares, persistent=False)
        self._links = links
        self.graph: NeighbourGraph | None = None
        self._selection: Selection | None = None
        # Blocks of the graph that a step refreshes; decided once, by the first step, and kept with the state.
        self._refresh_rate: float | None = None
        self.start_at_random(seed)

    @property
    def num_classes(self) -> int:
        """Number of category IDs, of all ranks."""
        return self.shards.num_classes

    @property
    def classes(self) -> range:
        """The classes whose proxies this rank has."""
        return self.shards.classes

    @property
    def centres(self) -> torch.Tensor:
        """All vectors of this rank, (len(classes) * sub_centres, dim), without gradients."""
        return self.weight.detach().view(-1, self.dim)

    def forward(
        self,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        label_weights: torch.Tensor | None = None,
        sample_weights: torch.Tensor | None = None,
        margin_share: float = 1.0,
    ) -> ProxyOutput:
        """The margin softmax loss of a batch; all gradients are worked out here, for one backward pass.

        Args:
            embeddings: (batch, dim).
            labels: (batch, P), or (batch,) where every sample has one label.
            label_weights: (batch, P); equal where not given.
            sample_weights: (batch,); equal where not given.
            margin_share: Factor on the margin, 0 to 1, for ramps.
        """
        if labels.dim() == 1:
            labels = labels.unsqueeze(1)
        if label_weights is None:
            label_weights = torch.ones_like(labels, dtype=torch.float32)
        if sample_weights is None:
            sample_weights = torch.ones_like(labels[:, 0], dtype=torch.float32)
        softmax = MarginSoftmax(
            MARGINS[self.config.margin],
            (self.config.margin_size or 0.0) * margin_share,
            self.config.scale or 1.0,
        )
        # Margins and softmax lose their meaning in half precision: leave autocast for the head.
        with torch.autocast(embeddings.device.type, enabled=False):
            directions = F.normalize(embeddings.float(), dim=1)
            if self._embedding_factor != 1 and directions.requires_grad:
                factor = self._embedding_factor
                directions.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
            batch = gather_batch(
                directions.detach(), labels, label_weights, sample_weights, self.shards
            )
            active = self._select().choose(batch.labels, self.step)
            self._decide_refresh(len(batch.labels), active.total)
            loss, losses = proxy_loss(
                directions,
                self.weight,
                batch,
                active,
                softmax,
                self.shards,
                self._margin_shares_of(batch.labels),
            )
        return ProxyOutput(loss, losses)

    def advance(self) -> None:
        """To be called after every step of the optimiser: counts it, and refreshes a part of the graph."""
        if self.graph is not None and self._refresh_rate is not None:
            self.graph.refresh(blocks_due(self.step, self._refresh_rate))
        self.step += 1

    def set_selection(self, selection: SelectionConfig) -> None:
        """Compares with other classes from now on, for example in a new stage.

        A graph that is made by the same settings is kept, unless it is never to be refreshed.
        """
        is_alike = selection.graph_settings == self.config.selection.graph_settings
        self.config = self.config.model_copy(update={"selection": selection})
        if is_alike and selection.refresh_share:
            self._selection = self._refresh_rate = None
        else:
            self._forget_graph()

    def start_at_random(self, seed: int) -> None:
        """Sets every proxy to a new random direction, the same on any number of ranks."""
        count, classes = self.config.sub_centres, self.classes
        of_centres = range(classes.start * count, classes.stop * count)
        random_directions(self.centres, of_centres, self.num_classes * count, seed)
        self._forget_graph()

    def start_from_means(
        self, batches: Iterable[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    ) -> None:
        """Sets each proxy to the mean of its members; classes without members keep their vector.

        Not collective: a rank has to be given the members of its own classes, and ignores others.

        Args:
            batches: Embeddings, normalised (n, dim); their classes (n,) int64; their weights (n,). All members of
                a class come in one batch.
        """
        for embeddings, class_index, weights in batches:
            class_means(self.weight, self.classes, embeddings, class_index, weights)
        self._forget_graph()

    def graph_recall(self, sample: int = 256) -> float:
        """The share of the classes' true nearest neighbours that the graph has now; 1 where none is used. Collective.

        Low values mean that the graph is stale, or that its search looks into too few lists.
        """
        return 1.0 if self.graph is None else self.graph.recall(sample, self.step)

    def export_state(self) -> ProxyState:
        """All that a checkpoint has to hold, without copies."""
        rows, rank = self.graph.state() if self.graph else ({}, {})
        plain: Plain = {
            "step": self.step,
            "ranks": self.shards.ranks,
            "has_graph": self.graph is not None,
            "refresh_rate": self._refresh_rate,
            "graph_cursor": self.graph.cursor if self.graph else 0,
            "graph_rounds": self.graph.rounds if self.graph else 0,
            "graph_lists": self.graph.num_lists if self.graph else 0,
            "graph_blocks": self.graph.blocks if self.graph else 0,
        }
        return ProxyState({"weight": self.weight.detach(), **rows}, rank, plain)

    def empty_state(self, plain: Plain) -> ProxyState:
        """Tensors to load a saved state into, given its plain part; on another number of ranks without the rank's."""
        self._forget_graph()
        if plain["has_graph"]:
            self.make_graph()
        state = self.export_state()
        return ProxyState(state.rows, state.rank if self._has_lists_of(plain) else {}, plain)

    @torch.no_grad()
    def import_state(self, state: ProxyState) -> None:
        """Goes on from a saved state. Collective.

        On the number of ranks it was saved on all is as it was; on another, or where an earlier version put the
        classes into other lists, proxies and neighbours are, and the graph is refreshed from its beginning. Where
        blocks of it are others, as on another device, its round begins again.
        """
        plain = state.plain
        self.weight.copy_(state.rows["weight"])
        self.step = int(plain["step"] or 0)
        self._refresh_rate = plain["refresh_rate"]
        if not plain["has_graph"]:
            self._forget_graph()
            return
        graph = self.graph or self.make_graph()
        rows, rank = graph.state()
        for name, tensor in (*rows.items(), *rank.items()):
            saved = {**state.rows, **state.rank}.get(name)
            if saved is not None:
                tensor.copy_(saved)
        if self._has_lists_of(plain):
            graph.restore(int(plain["graph_cursor"] or 0), int(plain["graph_rounds"] or 0))
            if graph.blocks != plain.get("graph_blocks", graph.blocks):  # as on another device
                graph.cursor, self._refresh_rate = 0, None
        else:
            graph.restart()
            self._refresh_rate = None  # it was counted in other blocks

    def _has_lists_of(self, plain: Plain) -> bool:
        """Whether the graph of a saved state looks into the same lists as this one."""
        lists = self.graph.num_lists if self.graph else 0
        # Earlier versions kept no groups of lists.
        is_complete = not lists or "graph_blocks" in plain
        is_alike = plain.get("graph_lists", 0) == lists
        return plain["ranks"] == self.shards.ranks and is_alike and is_complete

    def _margin_shares_of(self, labels: torch.Tensor) -> torch.Tensor | None:
        """How much of the margin each label of all ranks is asked for, (n, P); None where it is all. Collective."""
        if self._margin_shares is None:
            return None
        local = labels - self.classes.start
        own = (labels >= 0) & (local >= 0) & (local < len(self.classes))
        shares = torch.zeros(labels.shape, device=labels.device)
        shares[own] = self._margin_shares[local[own]]
        return self.shards.total(shares)

    def _select(self) -> Selection:
        """The selection, made when it is first needed, where the proxies are by then."""
        config = self.config.selection
        if config.kind == "knn" and self.graph is None:
            self.make_graph().build()
        if self._selection is None:
            links = Links(self._links, self.weight.device)
            count = config.active_classes(self.num_classes)
            if config.kind == "uniform":
                self._selection = UniformClasses(self.shards, count, links, self.seed)
            elif self.graph is not None:
                self._selection = NearestClasses(
                    self.shards, self.graph, count, config.uniform_share, links, self.seed
                )
            else:
                self._selection = AllClasses(self.shards, links)
        return self._selection

    def make_graph(self) -> NeighbourGraph:
        """A graph of the right size without any neighbours yet. Steps make and build one where there is none."""
        config = self.config.selection
        self.graph, self._selection = None, None
        self.graph = NeighbourGraph(
            self.shards,
            self.weight,
            config.neighbours,
            twin_similarity=config.twin_similarity,
            exact_up_to=config.exact_up_to,
            seed=self.seed,
        )
        return self.graph

    def _forget_graph(self) -> None:
        self.graph, self._selection, self._refresh_rate = None, None, None

    def _decide_refresh(self, samples: int, active: int) -> None:
        """Decides in the first step with a graph how much of it later ones refresh."""
        if self.graph is not None and self._refresh_rate is None:
            logits = samples * active / self.shards.ranks
            share = self.config.selection.refresh_share
            self._refresh_rate = blocks_per_step(share, logits, self.graph.block_cost)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Moves the proxies; what refers to them is made anew when it is needed."""
        self._forget_graph()
        return super()._apply(fn, recurse)  # type: ignore[no-any-return, no-untyped-call]
