"""From an error to what the user reads and the exit code."""

from __future__ import annotations

import errno
import sys
import traceback
from typing import Any

from oclear.errors import OclearError

STOPPED = 130  # as shells count it: 128 and the number of the signal
_OF_THE_USER = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)


def report_error(error: BaseException) -> int:
    """Says what went wrong, and gives the exit code."""
    if isinstance(error, OclearError):
        return _fail(str(error))
    if isinstance(error, KeyboardInterrupt):
        _fail("stopped; train and demo go on with --resume, index goes on by itself")
        return STOPPED
    if isinstance(error, OSError) and error.errno in _OF_THE_USER:
        return _fail(f"{error.filename or 'output'}: {error.strerror}")
    if (message := _usage_error(error)) is not None:
        return _fail(message)
    traceback.print_exception(error)
    if not isinstance(error, OSError):
        print("This is a defect of oclear; please report the lines above.", file=sys.stderr)
    return 1


def _usage_error(error: Any) -> str | None:
    """What the parser has to say of a wrong command line, None for any other error."""
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    hint = f"\nSee '{context.command_path} --help'." if context else ""
    return f"{error.format_message()}{hint}"


def _fail(message: str) -> int:
    first, *rest = message.splitlines() or [""]
    print(f"error: {first}", *rest[:2], sep="\n", file=sys.stderr)
    return 2
