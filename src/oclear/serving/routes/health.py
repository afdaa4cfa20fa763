"""``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from oclear.serving.access import needs
from oclear.serving.routes.shared import json_response
from oclear.serving.service import Service

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> Response:
    """Whether the process lives."""
    return json_response({"status": "alive"})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Whether it answers searches: warmed up, and not about to stop."""
    service: Service = request.app.state.service
    if service.is_ready:
        return json_response({"status": "ready", "model_id": service.deployment.store.model_id})
    status = "stopping" if service.is_stopping else "warming up"
    return json_response({"status": status}, 503)


@router.get("/metrics", dependencies=[Depends(needs("search"))])
async def metrics(request: Request) -> Response:
    """For Prometheus, in its text form."""
    service: Service = request.app.state.service
    service.measure()
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
