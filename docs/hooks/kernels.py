"""Notebooks run in kernels that are reached through files of this machine rather than through open ports."""

from __future__ import annotations

import tempfile
from pathlib import Path

import jupyter_client
from traitlets import default


class LocalKernelManager(jupyter_client.AsyncKernelManager):
    """Starts kernels with `ipc` in place of `tcp`, about which they warn."""

    @default("transport")
    def _transport(self) -> str:
        return "ipc"

    @default("ip")
    def _place(self) -> str:
        # A kernel starts in the folder of its notebook, so its files must not be looked for where it is.
        return str(Path(tempfile.mkdtemp(prefix="kernel-")) / "ipc")


def on_startup(*, command: str, dirty: bool) -> None:
    """Let the plugin that executes notebooks start such kernels; it has no option for it."""
    jupyter_client.AsyncKernelManager = LocalKernelManager
