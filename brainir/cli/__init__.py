"""The command ``brainir``: programs as files, looked at, checked, compared, changed and run from a shell."""

from __future__ import annotations

import sys

__all__ = ["main"]

_NEEDED = ("rich", "typer")


def main() -> None:
    """Run the command with the arguments of the process, or say how to install what it needs."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.stderr.write(f"The brainir command needs {error.name}. Install it: pip install 'brainir[cli]'\n")
        raise SystemExit(2) from None
    app(prog_name="brainir")
