"""brainunit has checked the models, so no conflict may be found in them."""

import pytest

import brainir
from tests.models import MODELS

# Those with the most units; the others have few or none.
CASES = (
    "ALIF_STPExpCu_Dense", "LIF_ExpCo", "ALIF_ExpCo", "GifRef_ExpCu", "ExpIF_Delta", "AdExIF_Delta",
    "Izhikevich_Delta", "two_layer_LIF", "observed_ALIF",
)  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_no_conflict_is_found_in_a_model_that_brainunit_has_checked(name: str) -> None:
    case = MODELS[name]
    program = brainir.lower_module(case.build(), *case.inputs(0))
    report = brainir.check_units(program)
    assert report.ok, str(report)
