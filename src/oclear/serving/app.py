"""The app: made by a function, nothing at import."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

import oclear
from oclear.errors import OclearError
from oclear.serving.access import Access
from oclear.serving.config import ServeConfig
from oclear.serving.errors import install_error_handlers
from oclear.serving.gate import Gate
from oclear.serving.keys import Keys
from oclear.serving.metrics import Metrics
from oclear.serving.routes import feedback, health, items, page, search
from oclear.serving.service import Service
from oclear.serving.source import Source

log = logging.getLogger("oclear.serving")

_ABOUT = "Finds the catalogue item that a photo shows."


def create_app(
    config: ServeConfig, source: Source, *, log_folder: Path | None = None, keys: Keys | None = None
) -> FastAPI:
    """The server as an ASGI app.

    It answers ``/healthz`` at once and ``/readyz`` when the model is loaded and warmed up, which goes on beside.

    Args:
        config: Of the server.
        source: Where model and store come from.
        log_folder: The exposure log, None for none.
        keys: Those it takes, None for none.
    """
    metrics = Metrics()
    service = Service(config, source, log_folder, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tending = asyncio.create_task(_tend(service))
        try:
            yield
        finally:
            service.is_stopping = True
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending
            await service.stop()

    app = FastAPI(
        title="OCLEAR",
        summary=_ABOUT,
        version=oclear.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        max_body_size=config.limits.body_bytes,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    app.state.access = Access(config, keys or Keys(None), metrics)
    install_error_handlers(app)
    for topic in (search, items, feedback, health, page):
        app.include_router(topic.router)
    app.add_middleware(Gate, config=config, metrics=metrics)
    return app


async def _tend(service: Service) -> None:
    """Warms up, then looks after the index for as long as the server runs."""
    try:
        await service.start()
    except Exception as error:
        service.fault = error
        service.on_fault()
        return
    said = ""
    while True:
        try:
            await service.look()
            said = ""
        except Exception as error:
            # What is served goes on being served; the folder may be in the middle of a change. Said once.
            message = error.message if isinstance(error, OclearError) else repr(error)
            if message != said:
                is_defect = not isinstance(error, (OclearError, OSError))
                log.error("the index cannot be looked at: %s", message, exc_info=is_defect)
            said = message
        await asyncio.sleep(service.config.refresh_seconds)
