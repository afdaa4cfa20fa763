"""Everything that can be turned at the server, with what it is turned to."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from oclear.store.judging import RejectBelow


class Limits(BaseModel):
    """What one request, and all requests together, may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body_bytes: int = Field(default=20_000_000, ge=1_000, description="of one request")
    pixels: int = Field(default=50_000_000, ge=1, description="width times height of a picture")
    images: int = Field(default=16, ge=1, description="pictures in one request")
    k: int = Field(default=200, ge=1, description="items wanted in an answer")
    filter_length: int = Field(default=1000, ge=1, description="characters")
    per_second: float = Field(default=100, gt=0, description="requests of one key, or address")
    burst: int = Field(default=200, ge=1, description="requests of one key at once")
    requests: int = Field(default=256, ge=1, description="in flight together")
    request_bytes: int = Field(default=256_000_000, ge=1_000, description="of all in flight")
    queue: int = Field(default=128, ge=1, description="photos accepted and not yet encoded")
    writes: int = Field(default=64, ge=1, description="items accepted and not yet stored")
    body_seconds: float = Field(default=30, gt=0, description="for the body to arrive")
    answer_seconds: float = Field(default=10, gt=0, description="from the body to the answer")
    write_seconds: float = Field(default=60, gt=0, description="likewise, of a change")


class EncoderConfig(BaseModel):
    """How photos are encoded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Literal["auto", "onnx", "torch"] = Field(
        default="auto",
        description="auto: ONNX Runtime on a CPU where it is installed and agrees, else torch",
    )
    workers: int | None = Field(default=None, ge=1, description="null: one a core, one on a GPU")
    batch: int | None = Field(default=None, ge=1, description="null: what pays, measured at start")


class LogConfig(BaseModel):
    """The exposure log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    keep_images: bool = Field(default=False, description="photos too, so that one can learn")
    image_days: float = Field(default=30, gt=0, description="after which a photo is removed")
    part_bytes: int = Field(default=64_000_000, ge=1, description="after which a part is closed")
    part_seconds: float = Field(default=3600, gt=0, description="after which a part is closed")


class AccessConfig(BaseModel):
    """Who may do what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    open: bool = Field(default=False, description="everyone may do everything; no keys")
    search_needs_key: bool | None = Field(
        default=None, description="null: only where bound to more than this machine"
    )
    hosts: tuple[str, ...] = Field(
        default=(), description="Host headers taken; none given: any, but on loopback only its own"
    )


class ServeConfig(BaseModel):
    """Configuration of ``oclear serve``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    pictures: Path | None = Field(
        default=None, description="folder that the items' image paths are relative to, for the page"
    )
    keep_alive_seconds: int = Field(
        default=75, ge=1, description="of an idle connection; longer than a balancer keeps it"
    )
    drain_seconds: float = Field(
        default=0, ge=0, description="from the signal to stop to the last request taken"
    )
    stop_seconds: float = Field(default=30, gt=0, description="for what was accepted to finish")
    reject_below: RejectBelow = Field(
        default=None,
        description="probability of being in the catalogue below which a photo gets no answer; "
        "'calibrated': that of oclear calibrate",
    )
    refresh_seconds: float = Field(default=1, gt=0, description="between looks at the index folder")
    limits: Limits = Limits()
    encoder: EncoderConfig = EncoderConfig()
    log: LogConfig = LogConfig()
    access: AccessConfig = AccessConfig()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server.

        Example:
            >>> ServeConfig().is_loopback, ServeConfig(host="0.0.0.0").is_loopback
            (True, False)
        """
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def search_needs_key(self) -> bool:
        """Whether reading needs a key as writing does."""
        if self.access.open:
            return False
        given = self.access.search_needs_key
        return not self.is_loopback if given is None else given
