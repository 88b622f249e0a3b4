"""The node schemas: one class for each operation, or family of operations with the same attributes.

Attributes have their standard ``jax.lax`` names. To add an operation, add its name here (or a schema of its own), a
type rule in :mod:`brainir.ir.type_rules`, a rule in :mod:`brainir.frontend.rules` and one in
:mod:`brainir.backend.rules`; ``tests/test_operations.py`` names whichever is missing.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Discriminator

from ..node import Node
from .contraction import DotGeneral
from .control import (
    Call,
    Checkpoint,
    CheckpointName,
    Cond,
    CustomJvp,
    CustomLinearSolve,
    CustomVjp,
    LinearCall,
    OptimizationBarrier,
    RematPolicy,
    Scan,
    While,
)
from .elementwise import (
    Binary,
    Clamp,
    Compare,
    ConvertElementType,
    IntegerPow,
    ReducePrecision,
    Round,
    SelectN,
    Unary,
    UnaryAccuracy,
)
from .external import Callback, CustomCall
from .indexing import DynamicSlice, DynamicUpdateSlice, Gather, GatherNumbers, Scatter, ScatterNumbers
from .parallel import (
    AllGather,
    AllReduce,
    AllToAll,
    AxisIndex,
    MeshShape,
    Permute,
    ReduceScatter,
    Sharding,
    ShardingConstraint,
    ShardMap,
    Spec,
    Vary,
)
from .random import RandomBits, RandomKeys, RandomSeed, RandomSplit, RandomWrap
from .reduction import ArgReduce, Cumulative, Reduce
from .structure import (
    BitcastConvertType,
    BroadcastInDim,
    Concatenate,
    Iota,
    Pad,
    Reshape,
    Rev,
    Slice,
    Split,
    Squeeze,
    Stack,
    Tile,
    Transpose,
    Unstack,
)

__all__ = [
    "SCHEMAS",
    "AllGather",
    "AllReduce",
    "AllToAll",
    "AnyNode",
    "ArgReduce",
    "AxisIndex",
    "Binary",
    "BitcastConvertType",
    "BroadcastInDim",
    "Call",
    "Callback",
    "Checkpoint",
    "CheckpointName",
    "Clamp",
    "Compare",
    "Concatenate",
    "Cond",
    "ConvertElementType",
    "Cumulative",
    "CustomCall",
    "CustomJvp",
    "CustomLinearSolve",
    "CustomVjp",
    "DotGeneral",
    "DynamicSlice",
    "DynamicUpdateSlice",
    "Gather",
    "GatherNumbers",
    "IntegerPow",
    "Iota",
    "LinearCall",
    "MeshShape",
    "OptimizationBarrier",
    "Pad",
    "Permute",
    "RandomBits",
    "RandomKeys",
    "RandomSeed",
    "RandomSplit",
    "RandomWrap",
    "Reduce",
    "ReducePrecision",
    "ReduceScatter",
    "RematPolicy",
    "Reshape",
    "Rev",
    "Round",
    "Scan",
    "Scatter",
    "ScatterNumbers",
    "SelectN",
    "ShardMap",
    "Sharding",
    "ShardingConstraint",
    "Slice",
    "Spec",
    "Split",
    "Squeeze",
    "Stack",
    "Tile",
    "Transpose",
    "Unary",
    "UnaryAccuracy",
    "Unstack",
    "Vary",
    "While",
    "schema_of",
]

_AnySchema = (
    Unary | UnaryAccuracy | IntegerPow | Round | ReducePrecision | Binary | Compare | SelectN | Clamp
    | ConvertElementType | BitcastConvertType | BroadcastInDim | Reshape | Squeeze | Transpose | Rev | Slice | Split
    | Concatenate | Stack | Unstack | Tile | Pad | Iota | Gather | Scatter | DynamicSlice | DynamicUpdateSlice
    | DotGeneral | Reduce | ArgReduce | Cumulative | RandomSeed | RandomWrap | RandomKeys | RandomSplit | RandomBits
    | Call | CustomJvp | CustomVjp | Cond | Scan | While | Checkpoint | CheckpointName | CustomLinearSolve | LinearCall
    | OptimizationBarrier | Callback | CustomCall | ShardingConstraint | ShardMap | AllReduce | Vary | AllGather
    | ReduceScatter | AllToAll | Permute | AxisIndex
)  # fmt: skip

AnyNode = Annotated[_AnySchema, Discriminator("op")]
"""Any node, told apart by ``op``."""

SCHEMAS: tuple[type[Node], ...] = get_args(_AnySchema)
"""Every node schema."""

_SCHEMA_OF = {op: schema for schema in SCHEMAS for op in schema.ops()}


def schema_of(op: str) -> type[Node]:
    """Return the schema of an operation.

    Raises
    ------
    KeyError
        If no schema covers `op`.
    """
    return _SCHEMA_OF[op]
