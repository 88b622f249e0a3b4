"""Every JAX version writes the same bytes for a model, unless JAX or a library makes another program of it."""

import json

import pytest

from tests import versions


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return versions.model_texts()


def test_every_jax_version_writes_the_same_bytes_for_a_model_unless_it_is_another_program(
    texts: dict[str, str],
) -> None:
    written = json.loads(versions.MODELS.read_text())
    assert written.keys() == texts.keys()
    other = {name for name, text in texts.items() if versions.digest(text) != written[name]}
    assert other == {name for name, text in texts.items() if versions.model_differs(name, text)}, (
        "python -m tests.versions, with the JAX of .venv, writes the file anew"
    )
    assert len(texts.keys() - other) >= 15
