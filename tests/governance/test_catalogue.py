"""What the catalogue says before any visitor comes, kinds of a user's own among it."""

import numpy as np
import pytest

from oclear.errors import ConfigError
from oclear.governance import GovernanceConfig
from oclear.governance.catalogue import catalogue_evidence
from oclear.tables import SkippedImages

MODULE = """
import numpy as np
from oclear.governance.evidence import make_edges

def same_supplier(items, looks):
    supplier = np.array(items.table["supplier"].to_pylist())
    a, b = np.triu_indices(len(supplier), 1)
    same = supplier[a] == supplier[b]
    return make_edges("supplier", a[same], b[same], 0.7, "same supplier")

def outside(items, looks):
    return make_edges("supplier", np.array([0]), np.array([99]), 0.7, "wrong rows")

def proof(items, looks):
    return make_edges("identity", np.array([0]), np.array([1]), 1.0, "I say so")

def nothing(items, looks):
    return None

def fails(items, looks):
    return items.table["no_such_column"]
"""


@pytest.fixture
def collect(make, tmp_path, monkeypatch):
    (tmp_path / "my_evidence.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    items = make.items(4, supplier=["x", "y", "x", "z"])
    looks = make.looks(np.eye(4), np.eye(4))

    def run(*names, **settings):
        config = GovernanceConfig(more_evidence=names, **settings)
        return catalogue_evidence(items, looks, config, SkippedImages())

    return run


def test_a_kind_of_the_users_own_is_heard_beside_the_others(collect):
    hints = {edges.reason: edges for edges in collect("my_evidence:same_supplier").hints}
    supplier = hints["same supplier"]
    assert (supplier.kind, supplier.a.tolist(), supplier.b.tolist()) == ("supplier", [0], [2])
    assert "look alike" in hints


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module:same", "cannot be loaded"),
        ("my_evidence:no_such_function", "cannot be loaded"),
        ("my_evidence", "cannot be loaded"),
        ("my_evidence:nothing", "expected Edges"),
        ("my_evidence:outside", "ties rows 0 to 99"),
        ("my_evidence:proof", "one of oclear's own"),
        ("my_evidence:fails", "failed with KeyError: .*no_such_column"),
    ],
)
def test_what_is_no_evidence_is_refused(collect, name, says):
    with pytest.raises(ConfigError, match=says):
        collect(name)


def test_only_the_kinds_that_are_named_are_heard(collect):
    assert {e.kind for e in collect(evidence=("looks",)).hints} == {"looks"}
    assert {e.kind for e in collect(evidence=("identity",)).hints} == {"image_hash"}
    assert collect(evidence=("looks",)).proofs == []
