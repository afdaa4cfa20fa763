"""A connection to a Milvus server, and what goes wrong on it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from oclear.errors import InputError, MissingExtraError, StoreUnreachableError

# Without a limit, pymilvus asks a server that is gone 75 times, for four minutes.
PATIENCE = 10.0


def connect(server: str) -> Any:
    """A client.

    Raises:
        MissingExtraError: ``pymilvus`` is not installed.
        InputError: No server answers.
    """
    try:
        from pymilvus import MilvusClient, MilvusException
    except ImportError:
        raise MissingExtraError("pymilvus", "milvus", "for an index on a Milvus server") from None
    # It prints the traceback of every refused request beside raising it.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    try:
        return MilvusClient(uri=server, timeout=PATIENCE)
    except MilvusException as error:
        raise InputError(f"{server}: no Milvus server answers: {error.message:.120}") from error


@contextmanager
def answering(server: str) -> Iterator[None]:
    """Makes what the server's client raises one error of ours.

    Raises:
        StoreUnreachableError: The server is gone, too slow, or cannot carry out what it was asked for.
    """
    import grpc
    from pymilvus import MilvusException

    try:
        yield
    except MilvusException as error:
        raise StoreUnreachableError(server, error.message.splitlines()[0]) from error
    except grpc.RpcError as error:
        raise StoreUnreachableError(server, str(error).splitlines()[0]) from error
