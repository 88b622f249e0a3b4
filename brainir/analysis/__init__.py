"""Facts about states, positions, groups and weights of a program, found without running anything."""

from .dataflow import BackwardAnalysis, ForwardAnalysis, Site
from .dependence import PositionDependence, position_dependence
from .descents import Descent
from .diagnostics import Diagnostic
from .difference import CostChange, GroupChange, Meaning, ProgramDiff, WeightChange, diff
from .groups import Blocked, HiddenGroup, find_hidden_groups
from .inline import inline_calls
from .jacobian import InputVariation, JacobianEntry, JacobianStructure
from .module_info import ModuleInfo, module_info
from .opening import OpenedProgram, open_control_flow
from .passes import PASSES, Pass, PassResult, PassRun, apply_passes, run_passes
from .perturbation import HiddenPerturbation, add_hidden_perturbation
from .relation_diagnostics import relation_diagnostics
from .relations import HiddenParamOpRelation, RelationLeaf, find_hidden_param_op_relations

__all__ = [
    "PASSES",
    "BackwardAnalysis",
    "Blocked",
    "CostChange",
    "Descent",
    "Diagnostic",
    "ForwardAnalysis",
    "GroupChange",
    "HiddenGroup",
    "HiddenParamOpRelation",
    "HiddenPerturbation",
    "InputVariation",
    "JacobianEntry",
    "JacobianStructure",
    "Meaning",
    "ModuleInfo",
    "OpenedProgram",
    "Pass",
    "PassResult",
    "PassRun",
    "PositionDependence",
    "ProgramDiff",
    "RelationLeaf",
    "Site",
    "WeightChange",
    "add_hidden_perturbation",
    "apply_passes",
    "diff",
    "find_hidden_groups",
    "find_hidden_param_op_relations",
    "inline_calls",
    "module_info",
    "open_control_flow",
    "position_dependence",
    "relation_diagnostics",
    "run_passes",
]
