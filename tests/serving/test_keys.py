"""Keys are shown once, kept as hashes, and taken away while servers run."""

import json
import stat
from pathlib import Path

import pytest

from oclear.errors import FormatError, InputError
from oclear.serving import keys as module
from oclear.serving.keys import Keys, add_key, read_keys, remove_key


def test_a_key_opens_and_its_file_does_not_tell_it(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "keys.json"
    secret = add_key(file, "shop", ["search", "feedback"])
    other = add_key(file, "admin", ["write"])

    keys = Keys(file)

    found = keys.find(secret)
    assert found is not None
    assert (found.name, found.may) == ("shop", ("search", "feedback"))
    assert keys.find(secret + "x") is None
    assert keys.find("") is None
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret != other
    assert len(secret) > 40


def test_a_key_is_taken_away_from_a_running_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", -1)
    file = tmp_path / "keys.json"
    secrets = {name: add_key(file, name, ["write"]) for name in ("a", "b")}
    keys = Keys(file)

    remove_key(file, "a")

    assert keys.find(secrets["a"]) is None
    assert keys.find(secrets["b"]) is not None
    content = file.read_text()
    file.write_text("spoilt")
    assert keys.find(secrets["b"]) is None
    file.write_text(content)
    assert keys.find(secrets["b"]) is not None
    file.unlink()
    assert keys.find(secrets["b"]) is None


def test_names_are_taken_once_and_must_be_known(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    add_key(file, "shop", ["write"])

    with pytest.raises(InputError, match="there is a key 'shop' already"):
        add_key(file, "shop", ["write"])
    with pytest.raises(InputError, match="there is no key 'shp'"):
        remove_key(file, "shp")


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [{"name": "a"}]}', "\x00"])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)

    with pytest.raises(FormatError, match="not a file of keys"):
        read_keys(file)


def test_the_file_says_its_format(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    add_key(file, "shop", ["write"])

    assert json.loads(file.read_text())["format_version"] == 1
