"""The processes of a run under torchrun: which one this is, what they tell each other, how they stop together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, Store, _set_pg_timeout
from torch.distributed.rendezvous import rendezvous

from oclear.errors import OclearError, StoppedByOtherRankError
from oclear.runtime import take_the_word

Value = TypeVar("Value")

# Torchrun starts all ranks together. Later they compute features at different speeds and wait for the slowest; a rank
# that dies then is noticed at once, by its connections.
_JOINING, _WORKING = timedelta(minutes=10), timedelta(hours=12)
_FAILURES = "oclear/failures"
_SECONDS_FOR_THE_MESSAGE = 1.0


@dataclass(frozen=True)
class Ranks:
    """The processes that train one model together. One process alone is rank 0 of 1, and needs no process group.

    Args:
        rank: Of this process, from 0. Rank 0 writes what there is only one of: tables, metrics, the model.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """This rank's part of ``total`` things in a row: contiguous, sizes differ by one at most.

        Example:
            >>> [list(Ranks(rank, 3).share(5)) for rank in range(3)]
            [[0, 1], [2, 3], [4]]
        """
        size, left_over = divmod(total, self.count)
        start = self.rank * size + min(self.rank, left_over)
        return range(start, start + size + (self.rank < left_over))

    def wait(self) -> None:
        """Goes on when all ranks have come here."""
        if self.count > 1:
            dist.barrier()

    def gather(self, value: Value) -> list[Value]:
        """The values of all ranks, in their order, on every rank. They travel as pickles between our own processes."""
        if self.count == 1:
            return [value]
        values: list[Value | None] = [None] * self.count
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def from_main(self, value: Value) -> Value:
        """The value of rank 0, on every rank."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def share_weights(self, module: nn.Module) -> None:
        """Gives all ranks the weights of rank 0, to the bit."""
        if self.count > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Joins the ranks that torchrun started; without torchrun, this process is alone.

    Where one rank fails, all end, and one message is shown: the first to fail raises its error, the others
    :class:`StoppedByOtherRankError`, which is printed by nobody.

    Raises:
        OclearError: Another rank cannot be reached, was killed, or the connection to it is lost.
    """
    if "LOCAL_RANK" not in os.environ:
        yield Ranks()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        store, rank, count = next(rendezvous("env://", timeout=_JOINING))
    except (ValueError, dist.DistError) as error:
        raise OclearError(
            f"the other ranks cannot be reached ({str(error).splitlines()[0][:80]})",
            "Start all of them with torchrun, see docs/training.md; or unset LOCAL_RANK to train alone.",
        ) from error
    try:
        group_store = PrefixStore("oclear/group", store)
        dist.init_process_group(store=group_store, rank=rank, world_size=count, timeout=_JOINING)
        # Only now are all connected. A rank that failed earlier would leave others waiting for its connection.
        dist.barrier()
        _set_pg_timeout(_WORKING)
        yield Ranks(rank, count)
    except BaseException as error:
        # No goodbye to the group here: its connections break when this process ends, after its message is out.
        if _is_first_failure(store):
            take_the_word()
            if _is_lost_contact(error):
                raise OclearError(
                    f"rank {rank}: another rank of this run is gone; was it killed, or out of memory?",
                    "What was saved last is kept: go on with --resume.",
                ) from error
            raise
        # torchrun ends all when the first one ends: the message of the one that failed first must be out by then.
        time.sleep(_SECONDS_FOR_THE_MESSAGE)
        raise StoppedByOtherRankError from error
    dist.destroy_process_group()


def _is_first_failure(store: Store) -> bool:
    try:
        return bool(store.add(_FAILURES, 1) == 1)
    except RuntimeError:  # the store has gone with the process that kept it
        return False


def _is_lost_contact(error: BaseException) -> bool:
    # NCCL and the store have errors of their own; gloo raises a RuntimeError that names the transport.
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error)
    )
