"""``python -m brainir`` is the command ``brainir``."""

from .cli import main

main()
