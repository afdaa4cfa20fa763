"""A real Milvus server for tests, from PyPI's ``milvus`` package.

Milvus listens on all interfaces, whatever its settings say. So it runs in a network namespace of its own, which
has nothing but a loopback interface, and a Unix socket leads to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ISOLATED = ["unshare", "--net", "--pid", "--fork", "--kill-child"]
_SECONDS = 240  # the package unpacks a binary first


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """Its address. Skips the test, with the reason, where the server cannot be had or does not start.

    Args:
        folder: For its files; with a path short enough for a Unix socket.
    """
    for package in ("pymilvus", "milvus"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package '{package}' is not installed (extra [milvus-server])")
    isolated = [*_ISOLATED, *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*isolated, "true"], check=False).returncode
    ):
        pytest.skip(
            "no network namespace can be made here, and Milvus would listen on all interfaces"
        )
    with (folder / "server.log").open("w") as log:
        command = [*isolated, sys.executable, __file__, str(folder)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert server.stdout is not None
        ready = select.select([server.stdout], [], [], _SECONDS)[0] and server.stdout.readline()
        if not ready:
            last = (folder / "server.log").read_text().strip().splitlines()[-1:]
            pytest.skip(f"the Milvus server does not start here: {last or 'no answer'}")
        yield f"unix:{folder / 'socket'}"
    finally:
        server.kill()
        server.wait()


def _serve(folder: Path) -> None:
    """Inside of the namespace: runs the server, and leads the socket to it."""
    import milvus

    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = milvus.MilvusServer(wait_for_started=False)
    # Without an address its parts talk to each other over the machine's own, which is not here.
    server.config.template_text = server.config.template_text.replace(
        "  ip: #", "  ip: 127.0.0.1 #"
    )
    server.set_base_dir(str(folder / "data"))
    server.start()
    server.wait_started(timeout=_SECONDS * 1000)
    asyncio.run(_forward(folder / "socket", server.listen_port))


async def _forward(socket: Path, port: int) -> None:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while block := await reader.read(1 << 16):
                writer.write(block)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    listener = await asyncio.start_unix_server(connect, socket)
    print("ready", flush=True)
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
