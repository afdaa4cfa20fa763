"""``oclear serve`` as a process: it listens, answers, and stops in order; its log and its keys have commands."""

import functools
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

QUICK = ("encoder.runtime=torch", "encoder.workers=1", "encoder.batch=4")


@contextmanager
def serving(*arguments: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server in a process of its own; yields its address when it is ready."""
    command = [sys.executable, "-m", "oclear", "serve", "--port", "0", *map(str, arguments), *QUICK]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = ""
        while (found := re.search(r"at (http://\S+)", said)) is None:
            line = process.stderr.readline()
            assert line, said
            said += line
        end = time.monotonic() + 240
        while ask(f"{found[1]}readyz")[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
        yield found[1], process
    finally:
        process.kill()
        process.communicate()


def ask(
    url: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError:
        return 0, None


def form(*pictures: bytes, **fields: str) -> dict[str, Any]:
    parts = [
        f'Content-Disposition: form-data; name="{n}"\r\n\r\n{v}'.encode() for n, v in fields.items()
    ]
    head = b'Content-Disposition: form-data; name="image"; filename="p"\r\n\r\n'
    parts += [head + picture for picture in pictures]
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    return {"body": body, "Content-Type": "multipart/form-data; boundary=b"}


def test_an_index_is_served_put_to_and_goes_on(
    oclear: Callable[..., Any], demo: Any, shop: Path, tmp_path: Path
) -> None:
    index = Path(shutil.copytree(demo.out / "index", tmp_path / "index"))
    keys, log = tmp_path / "keys.json", tmp_path / "log"
    secret = oclear("keys", "add", "shop", "--keys", keys, "--json").json["key"]
    bearer = {"Authorization": f"Bearer {secret}"}
    item = pq.read_table(shop / "items.parquet").slice(2, 1).to_pylist()[0]
    pictures = [(shop / path).read_bytes() for path in item["image_path"]]
    attributes = json.dumps({n: v for n, v in item.items() if n != "item_id"}, default=str)
    options = ("--index", index, "--log", log, "--keys", keys, "drain_seconds=1")
    with serving(*options) as (address, process):
        place = f"{address}v1/items/{item['item_id']}"
        assert ask(place, "DELETE")[0] == 401
        put = ask(place, "PUT", **form(*pictures, attributes=attributes), **bearer)
        assert put == (200, {"item_id": item["item_id"], "created": False})
        status, answer = ask(f"{address}v1/search", "POST", **form(pictures[0], session_id="s"))
        assert status == 200
        hit = answer["results"][0]["hits"][0]
        feedback = {"request_id": answer["results"][0]["request_id"], "item_id": hit["item_id"]}
        body = json.dumps({**feedback, "event": "click"}).encode()
        kind = {"Content-Type": "application/json"}
        assert ask(f"{address}v1/feedback", "POST", body, **kind, **bearer)[0] == 200

        # Told to stop with requests under way: what was accepted is finished.
        search = functools.partial(ask, f"{address}v1/search", "POST", **form(pictures[0]))
        with ThreadPoolExecutor(8) as pool:
            under_way = [pool.submit(search) for _ in range(8)]
            process.send_signal(signal.SIGTERM)
            assert {future.result()[0] for future in under_way} == {200}

        output, errors = process.communicate(timeout=120)
        assert (process.returncode, output) == (0, "stopped; what was accepted is done\n")
        assert "Traceback" not in errors
        assert secret not in errors
    # What was put is what 'oclear index' would have made of it: nothing is to be encoded again.
    model = ("--model", demo.out / "training")
    made = oclear("index", *model, "--items", shop, "--out", index, "--json").json
    assert (made["encoded"], made["removed"]) == (0, 0)
    done = oclear("log", "compact", "--log", log, "--json").json
    assert (done["searches"], done["feedback"], done["damaged"]) == (9, 1, 0)
    erased = oclear("log", "erase", "--log", log, "--session", "s", "--json").json
    assert erased["rows"] == len(answer["results"][0]["hits"]) + 1


def test_keys_are_listed_and_taken_away(oclear: Callable[..., Any], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    secret = oclear("keys", "add", "shop", "--keys", keys, "--may", "search", "--json").json["key"]
    listed = oclear("keys", "list", "--keys", keys, "--json")

    assert secret not in listed.stdout
    assert listed.json["keys"][0]["may"] == ["search"]
    assert oclear("keys", "remove", "shop", "--keys", keys).code == 0
    assert oclear("keys", "list", "--keys", keys, "--json").json["keys"] == []


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ("serve --index {tmp}", ["no index here", "oclear index"]),
        ("serve --index {index} --host 0.0.0.0", ["without keys", "oclear keys add"]),
        ("serve --index {index} --keys {tmp}/none.json", ["there is no such file", "keys add"]),
        ("serve --index {index} --port {busy}", ["cannot be listened on", "--port"]),
        ("serve --index {index} --host 192.0.2.1 --keys {keys}", ["cannot be listened on"]),
        ("serve --index {index} limits.k=0", ["limits.k", "greater than or equal to 1"]),
        ("serve --index {index} limit.k=5", ["unknown configuration key 'limit'", "'limits'"]),
        ("serve --index {index} --keys {tmp}/wrong.json", ["not a file of keys"]),
        ("log compact --log {tmp}", ["no exposure log here"]),
        ("log erase --log {tmp} --session s", ["no exposure log here"]),
        ("keys remove shop --keys {tmp}/none.json", ["there is no key 'shop'"]),
    ],
)
def test_what_cannot_be_served_is_refused(
    oclear: Callable[..., Any], demo: Any, tmp_path: Path, arguments: str, messages: list[str]
) -> None:
    index = demo.out / "index"
    (tmp_path / "wrong.json").write_text("[]")
    oclear("keys", "add", "a", "--keys", tmp_path / "keys.json")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        places = {"tmp": tmp_path, "index": index, "keys": tmp_path / "keys.json"}
        places["busy"] = busy.getsockname()[1]
        found = oclear(*(word.format(**places) for word in arguments.split()))

    assert found.code == 2, found.stderr
    assert len(found.stderr[found.stderr.index("error: ") :].splitlines()) <= 3
    for message in messages:
        assert message in found.stderr
    assert not (tmp_path / "log").exists()
