"""The sessions that were erased, so that what a running server still holds of them never reaches a table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from oclear.output import atomic_file
from oclear.serving.log.records import Search

_FILE = "erased.jsonl"


@dataclass(frozen=True)
class Erased:
    """Erased sessions: hash of the session's id, and until when its searches are erased (microseconds)."""

    until: dict[str, int]

    @classmethod
    def read(cls, folder: Path) -> Erased:
        """Those of a log; none where none was ever erased."""
        path = folder / _FILE
        lines = path.read_text().splitlines() if path.is_file() else []
        return cls({entry["session"]: entry["until"] for entry in map(json.loads, lines)})

    def covers(self, search: Search) -> bool:
        """Whether a search belongs to an erased session and was made before the erasure."""
        if search.session_id is None or not self.until:
            return False
        return search.time <= self.until.get(_hash(search.session_id), -1)


def note_erased(folder: Path, session_id: str, until: int) -> None:
    """Notes an erasure, lastingly; the file is written anew, so that no kill leaves half a line in it."""
    found = {**Erased.read(folder).until, _hash(session_id): until}
    lines = [json.dumps({"session": name, "until": moment}) for name, moment in found.items()]
    with atomic_file(folder / _FILE, lasting=True) as file:
        file.write_text("".join(f"{line}\n" for line in lines))


def _hash(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()
