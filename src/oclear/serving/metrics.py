"""What Prometheus reads at ``/metrics``; a registry of its own for each app."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The server's counters, gauges and histograms."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "oclear_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=self.registry,
        )
        self.seconds = self._histogram("request_seconds", "From head to answer.", ["route"])
        self.refused = Counter(
            "oclear_refused",
            "Requests refused, by reason: requests, bytes, queue, writes, rate, key.",
            ["reason"],
            registry=self.registry,
        )
        self.stages = self._histogram("stage_seconds", "Of decode, search, store.", ["stage"])
        self.batch_seconds = self._histogram("batch_seconds", "Of encoding a batch.", [])
        self.batch_photos = Histogram(
            "oclear_batch_photos",
            "Photos encoded together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.flush_seconds = self._histogram("log_flush_seconds", "Of flushing the log.", [])
        self.log_failures = Counter(
            "oclear_log_failures",
            "Searches and feedback that could not be logged.",
            registry=self.registry,
        )
        self.searches = Counter("oclear_searches", "Photos answered.", registry=self.registry)
        self.feedback = Counter(
            "oclear_feedback", "Feedback logged, by event.", ["event"], registry=self.registry
        )
        self.queued = self._gauge("queue_photos", "Photos accepted and not yet encoded.")
        self.pictures = self._gauge("index_pictures", "Pictures of items that can be found.")
        self.ready = self._gauge("ready", "1 when warmed up and not stopping.")

    def batch(self, photos: int, seconds: float) -> None:
        """Tells of one encoded batch."""
        self.batch_photos.observe(photos)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' text form."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, about: str, labels: list[str]) -> Histogram:
        return Histogram(f"oclear_{name}", about, labels, buckets=_SECONDS, registry=self.registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"oclear_{name}", about, registry=self.registry)
