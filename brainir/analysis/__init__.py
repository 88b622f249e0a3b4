"""Facts about states, positions, groups and weights of a program, found without running anything."""

from .cost import Cost, Part, TraceCost, cost
from .dataflow import BackwardAnalysis, ForwardAnalysis, Site
from .dataflow.reachability import reached, reaching
from .diagnostics import Diagnostic
from .difference import CostChange, GroupChange, Meaning, ProgramDiff, WeightChange, diff
from .explain import Explanation, RouteStep, why
from .groups import Blocked, HiddenGroup, find_hidden_groups
from .inline import inline_calls
from .jacobian import InputVariation, JacobianEntry, JacobianStructure
from .module_info import ModuleInfo, module_info
from .passes import PASSES, Pass, PassResult, PassRun, apply_passes, run_passes
from .perturbation import HiddenPerturbation, add_hidden_perturbation
from .relation_diagnostics import relation_diagnostics
from .relations import HiddenParamOpRelation, RelationLeaf, find_hidden_param_op_relations
from .state_dependence import PositionDependence, position_dependence
from .units import UnitCheck, check_units
from .weights.descents import Descent
from .weights.opening import OpenedProgram, open_control_flow

__all__ = [
    "PASSES",
    "BackwardAnalysis",
    "Blocked",
    "Cost",
    "CostChange",
    "Descent",
    "Diagnostic",
    "Explanation",
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
    "Part",
    "Pass",
    "PassResult",
    "PassRun",
    "PositionDependence",
    "ProgramDiff",
    "RelationLeaf",
    "RouteStep",
    "Site",
    "TraceCost",
    "UnitCheck",
    "WeightChange",
    "add_hidden_perturbation",
    "apply_passes",
    "check_units",
    "cost",
    "diff",
    "find_hidden_groups",
    "find_hidden_param_op_relations",
    "inline_calls",
    "module_info",
    "open_control_flow",
    "position_dependence",
    "reached",
    "reaching",
    "relation_diagnostics",
    "run_passes",
    "why",
]
