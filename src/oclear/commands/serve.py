"""``oclear serve``: an index behind HTTP."""

from __future__ import annotations

import importlib.util
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import torch

from oclear.commands.shared.result import CommandResult
from oclear.errors import InputError, MissingExtraError
from oclear.progress import Reporter
from oclear.serving.config import ServeConfig

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from oclear.serving.keys import Key

_EXTRA = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def serve(
    index: Path,
    config: ServeConfig,
    reporter: Reporter,
    *,
    log: Path | None = None,
    keys: Path | None = None,
    model: str | None = None,
) -> CommandResult:
    """Serves an index until it is told to stop, and finishes what it accepted.

    Args:
        index: The index folder.
        config: Everything that can be turned.
        reporter: Says where it listens.
        log: The folder of the exposure log; ``log`` beside the index folder where None.
        keys: The file of ``oclear keys add``. Without one, on loopback, a key for this run alone is made and printed.
        model: The model that made the index, where its own copy is not to be used.

    Raises:
        FormatError: Not an index, or not a file of keys.
        InputError: Bound to more than this machine without keys; an address that cannot be bound.
        MissingExtraError: The extra ``serve`` is not installed.
    """
    _require_extra()
    from oclear.serving.app import create_app
    from oclear.serving.encoder import usable_cores
    from oclear.serving.index_folder import IndexFolder
    from oclear.serving.keys import Keys, new_key

    if keys is None and not config.is_loopback and not config.access.open:
        raise InputError(
            f"bound to {config.host}, which other machines reach, and without keys",
            "Give --keys FILE (made by 'oclear keys add'), or access.open=true to let everybody do everything.",
        )
    if keys is not None and not keys.is_file():
        raise InputError(f"{keys}: there is no such file", "Make it with 'oclear keys add'.")
    source = IndexFolder(index, model)
    source.active()  # not an index: said before anything is loaded
    if config.pictures is None:
        config = config.model_copy(update={"pictures": _catalogue_of(index)})
    own: Sequence[Key] = ()
    secret = None
    if keys is None and not config.access.open:
        secret, key = new_key("this run")
        own = (key,)
    _log_to_stderr()
    app = create_app(
        config,
        source,
        log_folder=log or index.resolve().parent / "log",
        keys=Keys(keys, own),
    )
    server = _server(app, config)
    listening = _bound(config)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    page = f"http://{shown}:{port}/"
    reporter.say(f"serving {index} at {page}")
    if secret is not None and sys.stderr.isatty():
        # Behind #: browsers keep it to themselves. Only to a terminal: logs must not hold secrets.
        reporter.say(f"open {page}#key={secret} (a key for this run alone; see 'oclear keys')")
    # Encoders use one thread each, in as many workers; more would fight for the cores.
    cores = usable_cores()
    torch.set_num_threads(max(1, cores // (config.encoder.workers or cores)))
    server.run(sockets=[listening])
    if app.state.service.fault is not None:
        raise app.state.service.fault
    return CommandResult({"address": page}, "stopped; what was accepted is done")


def _server(app: FastAPI, config: ServeConfig) -> uvicorn.Server:
    """A server that says it is not ready when told to stop, before it takes no more requests."""
    import uvicorn

    service = app.state.service

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if service.is_stopping:
                self.force_exit = sig == signal.SIGINT  # Ctrl-C twice
                self.should_exit = True
                return
            service.is_stopping = True
            # A thread, as this runs between any two instructions of the event loop.
            threading.Timer(config.drain_seconds, self._stop).start()

        def _stop(self) -> None:
            self.should_exit = True

    server = Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=config.keep_alive_seconds,
            timeout_graceful_shutdown=round(config.stop_seconds),
        )
    )
    service.on_fault = server._stop
    return server


def _bound(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"{config.host}:{config.port}: cannot be listened on: {error.strerror or error}",
            "Choose another --port or --host.",
        ) from error


def _catalogue_of(index: Path) -> Path | None:
    """The folder of the items table that the index was made from, as it says itself; for pictures on the page."""
    try:
        items = json.loads((index / "run.json").read_text())["inputs"]["items"]
        place = Path(items)
        return place if place.is_dir() else place.parent
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("oclear.serving", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO if name == "oclear.serving" else logging.WARNING)


def _require_extra() -> None:
    for package in _EXTRA:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "serve", "by 'oclear serve'")
