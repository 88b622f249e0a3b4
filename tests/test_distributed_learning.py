"""Learners on several devices give what they give on one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _start(devices: int, *arguments: object) -> subprocess.Popen[str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.sharded_learning", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return out


def test_eight_devices_of_one_process_give_what_one_gives() -> None:
    out = _finish(_start(8))
    # Two parts of the batch, four of the neurons; D-RTRL, then the data of ES-D-RTRL.
    assert "equal 8 (4, 11, 8) (2, 11, 2) (4, 11) (2, 11)" in out


def test_two_processes_give_what_one_gives() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outs = [_finish(process) for process in [_start(2, number, 2, port) for number in range(2)]]
    assert all("equal 4 (4, 11, 8) (2, 11, 4) (4, 11) (2, 11)" in out for out in outs)
