"""Facts about states, positions, groups and weights of a program, found without running anything."""

from .dependence import PositionDependence, position_dependence
from .diagnostics import Diagnostic
from .groups import Blocked, HiddenGroup, find_hidden_groups
from .inline import inline_calls
from .module_info import ModuleInfo, module_info
from .passes import PASSES, Pass, PassResult, PassRun, apply_passes, run_passes
from .perturbation import HiddenPerturbation, add_hidden_perturbation
from .relation_diagnostics import relation_diagnostics
from .relations import HiddenParamOpRelation, RelationLeaf, find_hidden_param_op_relations

__all__ = [
    "PASSES",
    "Blocked",
    "Diagnostic",
    "HiddenGroup",
    "HiddenParamOpRelation",
    "HiddenPerturbation",
    "ModuleInfo",
    "Pass",
    "PassResult",
    "PassRun",
    "PositionDependence",
    "RelationLeaf",
    "add_hidden_perturbation",
    "apply_passes",
    "find_hidden_groups",
    "find_hidden_param_op_relations",
    "inline_calls",
    "module_info",
    "position_dependence",
    "relation_diagnostics",
    "run_passes",
]
