"""Whatever is sent, the answer is no 5xx, memory is bounded, and afterwards the server answers as before."""

import importlib.util
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import COLOURS, Server, picture

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PHOTO = picture(COLOURS["red"])


def load(name: str) -> Any:
    """A module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def answers_as_before(server: Server) -> None:
    assert server.found(PHOTO)[0] == "red"


def test_two_hundred_mutated_pictures(standing: Server) -> None:
    statuses: dict[int, int] = {}
    names = set()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in load("_mutations").mutated_files(200, seed=5):
        answer = standing.search(data)
        assert answer.status_code in (200, 413, 415, 422), (name, answer.text)
        if answer.status_code != 200:
            assert answer.json()["error"]["message"], name
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        names.update(name.split()[2:])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 600_000, f"{grown} kB more at the highest"
    assert set(statuses) == {200, 413, 415, 422}, "each kind of answer was tried"
    assert len(names) == 10
    answers_as_before(standing)


@given(data=st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_forms_of_any_shape(standing: Server, data: st.DataObject) -> None:
    names = st.sampled_from(["image", "box", "k", "filter", "session_id", "x"]) | st.text(
        max_size=9
    )
    values = st.binary(max_size=40) | st.just(PHOTO)
    files = data.draw(st.lists(st.tuples(names, values, st.booleans()), max_size=5))
    body = b""
    for name, value, is_file in files:
        quoted = (
            name.encode("utf-8", "ignore")
            .replace(b'"', b"%22")
            .replace(b"\r", b"")
            .replace(b"\n", b"")
        )
        filename = b'; filename="f"' if is_file else b""
        head = b'Content-Disposition: form-data; name="' + quoted + b'"' + filename
        body += b"--b\r\n" + head + b"\r\n\r\n" + value + b"\r\n"
    body += data.draw(st.sampled_from([b"--b--\r\n", b"--b", b"", b"--x--\r\n"]))
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    answer = standing.client.post("/v1/search", content=body, headers=headers)

    assert answer.status_code < 500, answer.text


def test_schemathesis_finds_no_5xx(standing: Server) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    import requests

    described = standing.client.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(described)
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=15,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            nonlocal asked
            given_ = case.as_transport_kwargs(base_url="http://localhost")
            try:
                sent = requests.Request(
                    **{k: v for k, v in given_.items() if k in REQUEST}
                ).prepare()
            except (ValueError, requests.RequestException):
                return  # what no client can send
            headers = {**sent.headers, **standing.bearer("search")}
            answer = standing.client.request(
                sent.method or "", sent.url or "", content=sent.body or b"", headers=headers
            )
            asked += 1
            assert answer.status_code < 500, (sent.method, sent.url, answer.text)

        check()
    assert asked > 50
    answers_as_before(standing)


REQUEST = {"method", "url", "headers", "files", "data", "params", "json", "cookies"}
