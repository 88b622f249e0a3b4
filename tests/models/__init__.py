"""Recurrent and spiking models that the tests lower, analyse and regenerate.

Every model is small (`N_IN` inputs, `N_REC` units) and its weights come from a numpy generator, so that they
are the same numbers under every JAX version. One step of a model is ``module(*inputs)``.
"""

from .cases import MODELS, ModelCase
from .parameters import N_IN, N_REC
from .steps import pure_step

__all__ = ["MODELS", "N_IN", "N_REC", "ModelCase", "pure_step"]
