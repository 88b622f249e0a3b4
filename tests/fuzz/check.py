"""What must hold for any text: it is refused with an error of brainir, or is a program that verifies and prints."""

from __future__ import annotations

import hashlib

import brainir
from brainir.ir.printer import format_html


def check(text: bytes) -> bool:
    """Return whether the text is a program. Anything but a program or an error of brainir is raised."""
    try:
        program = brainir.loads(text)
    except brainir.BrainIRError:
        return False
    brainir.verify(program)
    written = brainir.dumps(program)
    again = brainir.loads(written)
    if brainir.dumps(again) != written or brainir.fingerprint(again) != brainir.fingerprint(program):
        raise AssertionError("the program is another one when it is read back")
    str(program), repr(program), format_html(program)
    try:
        source = brainir.to_source(program)
    except brainir.BrainIRError:
        return True
    compile(source, "generated", "exec")
    return True


def name_of(text: bytes) -> str:
    """Return the file name under which a text is kept."""
    return f"{hashlib.sha256(text).hexdigest()[:16]}.json"
