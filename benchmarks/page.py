"""Seconds until the page of a program of 5,400 nodes can be used, in Chromium.

Run it with ``CHROMIUM=/usr/bin/chromium python benchmarks/page.py``; it needs the extra ``browser`` and chromedriver.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

import brainir

LAYERS, GATES, REPEATS = 50, 12, 3
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip


def deep(params, hidden, x):
    """Take one step of many layers of gates, each in a name scope of its own."""
    new = {}
    for layer in range(LAYERS):
        h = hidden[f"h{layer}"]
        with jax.named_scope(f"layer{layer}"):
            for gate in range(GATES):
                with jax.named_scope(f"gate{gate}"):
                    x = jnp.tanh(x * 0.5 + h * params["w"]) * jax.nn.sigmoid(x - h) + 0.1 * x
        new[f"h{layer}"] = x
    return new, x


def main() -> None:
    """Print the times of a few loads."""
    hidden = {f"h{layer}": jnp.zeros(8) for layer in range(LAYERS)}
    program = brainir.lower_step(deep, {"w": jnp.ones(8)}, hidden, jnp.ones(8))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        start = time.perf_counter()
        path.write_text(brainir.view.to_html(program))
        written = time.perf_counter() - start
        print(f"{program.node_count():,} nodes: page of {path.stat().st_size:,} bytes written in {written:.2f} s")
        options = Options()
        options.binary_location = os.environ.get("CHROMIUM", shutil.which("chromium") or "")
        for flag in (*FLAGS, f"--user-data-dir={folder}/profile"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            for _ in range(REPEATS):
                start = time.perf_counter()
                driver.get(path.as_uri())
                ready = driver.execute_script("return document.body.dataset.ready")
                print(f"opened in {time.perf_counter() - start:.2f} s (ready: {ready})")
                for mode in ("flat", "scope"):
                    script = "const t = performance.now(); page.mode.value = arguments[0];"
                    script += "page.open(0, page.sides[0].entry); return performance.now() - t"
                    print(f"  laid out anew, folded by {mode}: {driver.execute_script(script, mode) / 1000:.2f} s")
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
