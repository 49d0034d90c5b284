"""The errors of every room. A leaf module: it imports nothing of servecast."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ServecastError(Exception):
    """Something the user can mend: the message names the value and the rule, the hint the way out.

    The front door prints it as ``error: …`` and a blank line and ``hint: …`` and exits with
    `exit_code`; it never shows a traceback for it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(ServecastError):
    """What the user gave is wrong: a value, a field, a file or a line of it."""

    exit_code = 2


class UnsupportedError(InputError):
    """A feature that exists in the engines and is not modelled yet: refused by name."""


class InfeasibleError(ServecastError):
    """No deployment of the space can hold the model or meets the objectives."""

    exit_code = 3


def nearest(value: str, known: Iterable[str]) -> str | None:
    """The known name most like `value`, or None where nothing is near."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(value.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


def unknown(
    kind: str, value: str, known: Iterable[str], *, command: str, aliases: Iterable[str] = ()
) -> InputError:
    """The error for a name that is not in a catalogue: value, neighbours, next command.

    `aliases` are valid too: the neighbour may be one of them, the list of what is known leaves
    them out.
    """
    names = sorted(known)
    near = nearest(value, [*names, *aliases])
    shown = ", ".join(names[:8]) + (f" … ({len(names)} in all)" if len(names) > 8 else "")
    hint = f"did you mean `{near}`? " if near else ""
    return InputError(f"{kind} `{value}` is unknown\n  known: {shown}", hint=hint + command)
