"""Evidence of a kind of the user's own: a function that the configuration names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from oclear.errors import ConfigError
from oclear.governance.evidence.edges import Edges
from oclear.governance.looks import Looks
from oclear.tables import Items

# Reports tell kinds apart by name; the judged pairs lie beside them, in a file of that name.
_TAKEN = ("identity", "image_hash", "title", "looks", "behaviour", "matches")


def load_evidence(name: str) -> Callable[[Items, Looks], Edges]:
    """The function that is named as ``module:function``, of an installed module or the current folder's.

    Raises:
        ConfigError: There is none.
    """
    module, _, function = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Callable[[Items, Looks], Edges] = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"governance.more_evidence: '{name}' cannot be loaded ({error})",
            "Name it as module:function; the module must be installed or in the current folder.",
        ) from error
    finally:
        sys.path.pop(0)
    return found


def users_edges(name: str, items: Items, looks: Looks) -> Edges:
    """What the function of that name says of the items.

    Raises:
        ConfigError: It cannot be loaded, fails, or gives no :class:`Edges` of a kind of its own between rows of the
            items.
    """
    function = load_evidence(name)
    try:
        edges = function(items, looks)
    except Exception as error:  # whatever it is, it is the user's own code that failed
        raise ConfigError(
            f"governance.more_evidence: '{name}' failed with {type(error).__name__}: {error!s:.200}",
            "Try it by itself: it is called with the items (.table, .ids) and their looks (.items, .texts).",
        ) from error
    if not isinstance(edges, Edges) or not edges.kind.isidentifier():
        raise ConfigError(
            f"governance.more_evidence: '{name}' gave {edges!r:.80}, expected Edges whose kind is one plain word",
            "Make them with oclear.governance.evidence.make_edges.",
        )
    if edges.kind in _TAKEN:
        raise ConfigError(
            f"governance.more_evidence: '{name}' gave edges of the kind '{edges.kind}', which is one of oclear's own",
            "Give them a kind of their own, so that reports can tell them apart.",
        )
    if len(edges) and not 0 <= edges.a.min() < edges.b.max() < len(items):
        raise ConfigError(
            f"governance.more_evidence: '{name}' ties rows {edges.a.min()} to {edges.b.max()}",
            f"Rows are those of the items it is given, 0 to {len(items) - 1}.",
        )
    return edges
