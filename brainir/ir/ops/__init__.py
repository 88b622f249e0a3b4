"""The node schemas: one class for each operation, or family of operations with the same attributes.

Attributes have their standard ``jax.lax`` names. To add an operation, add its name to a schema, or a schema to
``__all__`` and ``_AnySchema``, a type rule in :mod:`brainir.ir.type_rules`, a rule in :mod:`brainir.frontend.rules` and
one in :mod:`brainir.backend.rules`; ``tests/test_operations.py`` names whichever is missing.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Discriminator

from ..node import Node
from .contraction import (
    ConvGeneralDilated,
    ConvNumbers,
    DotAlgorithm,
    DotGeneral,
    Fft,
    RaggedDotGeneral,
    RaggedDotNumbers,
    ScaledDot,
)
from .control import (
    Call,
    Checkpoint,
    CheckpointName,
    Composite,
    Cond,
    CustomJvp,
    CustomLinearSolve,
    CustomVjp,
    CustomVmap,
    JvpCase,
    LinearCall,
    NoDerivative,
    OptimizationBarrier,
    RematPolicy,
    Scan,
    Unvmap,
    VjpCase,
    While,
)
from .elementwise import (
    Binary,
    Clamp,
    Compare,
    ConvertElementType,
    IncompleteBeta,
    IntegerPow,
    MulOutDtype,
    Polynomial,
    ReducePrecision,
    Round,
    SelectN,
    Unary,
    UnaryAccuracy,
)
from .external import Callback, CustomCall
from .indexing import DynamicSlice, DynamicUpdateSlice, Gather, GatherNumbers, Scatter, ScatterApply, ScatterNumbers
from .linalg import (
    Eig,
    Eigh,
    Geqp3,
    LuPivotsToPermutation,
    Matrices,
    Ormqr,
    Qr,
    Schur,
    Svd,
    SymmetricProduct,
    TriangularSolve,
    Tridiagonal,
    TridiagonalSolve,
)
from .parallel import (
    AllGather,
    AllReduce,
    AllToAll,
    AxisIndex,
    Broadcast,
    Permute,
    RaggedAllToAll,
    ReduceScatter,
    Reshard,
    ShardingConstraint,
    ShardMap,
    UseMesh,
    Vary,
)
from .random import (
    RandomBits,
    RandomGamma,
    RandomKeys,
    RandomSeed,
    RandomSplit,
    RandomWrap,
    RngBitGenerator,
    RngUniform,
    Threefry2x32,
)
from .reduction import ArgReduce, Cumulative, Reduce, ReduceWith
from .sharding import MeshShape, Sharding, Spec, SpreadSpec, layout_of
from .sorting import ApproxTopK, Sort, TopK
from .structure import (
    BitcastConvertType,
    BroadcastInDim,
    Concatenate,
    DceSink,
    Device,
    DevicePut,
    Empty,
    Iota,
    Iota2x32Shape,
    Pad,
    PlatformIndex,
    Reshape,
    ReshapeDimensions,
    Rev,
    Slice,
    Split,
    Squeeze,
    Stack,
    Tile,
    Transpose,
    Unstack,
)
from .windows import ReduceWindow, ReduceWindowMonoid, SelectAndGatherAdd, SelectAndScatterAdd

__all__ = [
    "SCHEMAS",
    "AllGather",
    "AllReduce",
    "AllToAll",
    "AnyNode",
    "ApproxTopK",
    "ArgReduce",
    "AxisIndex",
    "Binary",
    "BitcastConvertType",
    "Broadcast",
    "BroadcastInDim",
    "Call",
    "Callback",
    "Checkpoint",
    "CheckpointName",
    "Clamp",
    "Compare",
    "Composite",
    "Concatenate",
    "Cond",
    "ConvGeneralDilated",
    "ConvNumbers",
    "ConvertElementType",
    "Cumulative",
    "CustomCall",
    "CustomJvp",
    "CustomLinearSolve",
    "CustomVjp",
    "CustomVmap",
    "DceSink",
    "Device",
    "DevicePut",
    "DotAlgorithm",
    "DotGeneral",
    "DynamicSlice",
    "DynamicUpdateSlice",
    "Eig",
    "Eigh",
    "Empty",
    "Fft",
    "Gather",
    "GatherNumbers",
    "Geqp3",
    "IncompleteBeta",
    "IntegerPow",
    "Iota",
    "Iota2x32Shape",
    "JvpCase",
    "LinearCall",
    "LuPivotsToPermutation",
    "Matrices",
    "MeshShape",
    "MulOutDtype",
    "NoDerivative",
    "OptimizationBarrier",
    "Ormqr",
    "Pad",
    "Permute",
    "PlatformIndex",
    "Polynomial",
    "Qr",
    "RaggedAllToAll",
    "RaggedDotGeneral",
    "RaggedDotNumbers",
    "RandomBits",
    "RandomGamma",
    "RandomKeys",
    "RandomSeed",
    "RandomSplit",
    "RandomWrap",
    "Reduce",
    "ReducePrecision",
    "ReduceScatter",
    "ReduceWindow",
    "ReduceWindowMonoid",
    "ReduceWith",
    "RematPolicy",
    "Reshape",
    "ReshapeDimensions",
    "Reshard",
    "Rev",
    "RngBitGenerator",
    "RngUniform",
    "Round",
    "ScaledDot",
    "Scan",
    "Scatter",
    "ScatterApply",
    "ScatterNumbers",
    "Schur",
    "SelectAndGatherAdd",
    "SelectAndScatterAdd",
    "SelectN",
    "ShardMap",
    "Sharding",
    "ShardingConstraint",
    "Slice",
    "Sort",
    "Spec",
    "Split",
    "SpreadSpec",
    "Squeeze",
    "Stack",
    "Svd",
    "SymmetricProduct",
    "Threefry2x32",
    "Tile",
    "TopK",
    "Transpose",
    "TriangularSolve",
    "Tridiagonal",
    "TridiagonalSolve",
    "Unary",
    "UnaryAccuracy",
    "Unstack",
    "Unvmap",
    "UseMesh",
    "Vary",
    "VjpCase",
    "While",
    "layout_of",
    "schema_of",
]

_AnySchema = (
    Unary | UnaryAccuracy | IntegerPow | Round | ReducePrecision | Binary | Compare | SelectN | Clamp
    | ConvertElementType | BitcastConvertType | BroadcastInDim | Reshape | Squeeze | Transpose | Rev | Slice | Split
    | Concatenate | Stack | Unstack | Tile | Pad | Iota | Gather | Scatter | DynamicSlice | DynamicUpdateSlice
    | DotGeneral | Reduce | ArgReduce | Cumulative | RandomSeed | RandomWrap | RandomKeys | RandomSplit | RandomBits
    | ConvGeneralDilated | Fft | RaggedDotGeneral | IncompleteBeta | MulOutDtype | Polynomial | ScatterApply | Eig
    | Eigh | LuPivotsToPermutation | Matrices | Ormqr | Qr | Schur | Svd | SymmetricProduct | TriangularSolve
    | Tridiagonal | TridiagonalSolve | RandomGamma | RngBitGenerator | RngUniform | Threefry2x32 | ReduceWith
    | ApproxTopK | Sort | TopK | ReduceWindow | ReduceWindowMonoid | SelectAndGatherAdd | SelectAndScatterAdd | Empty
    | DevicePut | DceSink | ReshapeDimensions | Iota2x32Shape | PlatformIndex
    | Call | CustomJvp | CustomVjp | NoDerivative | Cond | Scan | While | Checkpoint | CheckpointName
    | CustomLinearSolve | LinearCall | OptimizationBarrier | Callback | CustomCall | ShardingConstraint | ShardMap
    | AllReduce | Vary | AllGather | ReduceScatter | AllToAll | Permute | AxisIndex | Composite | CustomVmap | ScaledDot
    | RaggedAllToAll | Broadcast | Geqp3 | Unvmap | Reshard | UseMesh
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
