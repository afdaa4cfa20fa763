"""The command line: parses, nothing else."""

from oclear.cli.program import app, main, parse_and_run

__all__ = ["app", "main", "parse_and_run"]
