"""What a command prints."""

import json


def test_json_is_the_last_line_of_standard_output(oclear, shop, tmp_path) -> None:
    found = oclear("simulate", "--data", shop, "--out", tmp_path / "log.parquet", "--json")

    assert found.json["simulated"] is True
    assert json.loads(found.stdout) == found.json, "and the only one"
    assert "simulated log written to" in found.stderr

    plain = oclear("simulate", "--data", shop, "--out", tmp_path / "plain.parquet")
    assert plain.stdout.startswith("simulated log written to")
    assert "{" not in plain.stdout
