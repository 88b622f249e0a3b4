"""Results in containers of registered classes that no argument is like, which go out with the data they are made of."""

import dataclasses
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import sparse

import brainir
from brainir.ir.trees import Aux, ClassName, CustomTree, DataclassTree, LeafTree, StaticDict, Tree
from tests.compare import assert_same_bits

X = jnp.linspace(-1.0, 1.5, 4)


@jax.tree_util.register_pytree_node_class
class Bag:
    """A container that JAX makes of its part and of an aux."""

    def __init__(self, value: Any, aux: Any = None) -> None:
        self.value, self.aux = value, aux

    def tree_flatten(self) -> Any:
        return (self.value,), self.aux

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Any:
        return cls(*children, aux)


@dataclasses.dataclass(init=False)
class Layer:
    """A dataclass with an ``__init__`` that takes something else than its fields, as modules of Equinox are."""

    w: Any
    kind: Any
    sizes: Any

    def __init__(self, x: Any) -> None:
        self.w, self.kind, self.sizes = x * 2, Kind, (len(x), (2, "n"))


def unflatten_layer(static: Any, parts: Any) -> Layer:
    layer = object.__new__(Layer)
    (layer.w,), (layer.kind, layer.sizes) = parts, static
    return layer


jax.tree_util.register_pytree_with_keys(
    Layer,
    lambda layer: (((jax.tree_util.GetAttrKey("w"), layer.w),), (layer.kind, layer.sizes)),
    unflatten_layer,
)


class Kind:
    """What the kind of a `Layer` is."""


MADE: list[Callable[[Any], Any]] = [
    lambda x: Bag(x),
    lambda x: [Bag(x, "a"), Bag({"v": x}, ("b", 2, (True, None))), Bag(x + 1, "a")],
    lambda x: Bag(Bag(x, {"shape": (3, 2), "sorted": True, "of": {"scale": -0.0}}), 1.5),
    lambda x: Bag(x, OrderedDict(rows=4, columns=OrderedDict(a=(1, 2)))),
    Layer,
    lambda x: sparse.BCOO.fromdense(x, nse=4),
    lambda x: sparse.BCSR.fromdense(x[None] * x[:, None], nse=16),
]


def executed(program: brainir.Program) -> Callable[..., Any]:
    namespace: dict[str, Any] = {"__name__": "generated"}
    exec(brainir.to_source(program), namespace)
    function: Callable[..., Any] = namespace[program.entry]
    return function


@pytest.mark.parametrize("fn", MADE, ids=range(len(MADE)))
def test_containers_that_a_program_makes_go_out_with_the_data_that_they_are_made_of(fn: Callable[[Any], Any]) -> None:
    program = brainir.lower(fn, X)
    loaded = brainir.loads(brainir.dumps(program))
    assert loaded == program
    ours = brainir.to_callable(loaded)
    got, wanted = jax.jit(ours)(X), jax.jit(fn)(X)
    assert_same_bits(got, wanted)
    # As text, in which 1, 1.0 and True, or 0.0 and -0.0, differ.
    assert repr(jax.tree.structure(got)) == repr(jax.tree.structure(wanted))
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)
    assert_same_bits(jax.tree.leaves(executed(loaded)(X)), jax.tree.leaves(wanted))


def test_a_class_with_an_init_of_its_own_gets_all_fields() -> None:
    layer = brainir.to_callable(brainir.lower(Layer, X))(X)
    assert type(layer) is Layer
    assert (layer.kind, layer.sizes) == (Kind, (4, (2, "n")))
    assert_same_bits(layer.w, X * 2)


def test_parts_and_a_class_with_the_fields_stand_for_containers_whose_classes_are_not_imported() -> None:
    program = brainir.lower(lambda x: (Bag(x, "a"), Layer(x)), X)
    missing = brainir.loads(brainir.dumps(program).replace(f"{__name__}:", "missing:"))
    for fn in (brainir.to_callable(missing), executed(missing)):
        parts, layer = fn(X)
        assert_same_bits((parts, layer.w), ((X,), X * 2))
        assert (type(layer).__name__, layer.kind.__name__, layer.sizes) == ("Layer", "Kind", (4, (2, "n")))


@jax.tree_util.register_pytree_node_class
class Blocks:
    """A container that makes arrays of its parts, so that it takes nothing else, as that of scico does."""

    def __init__(self, *parts: Any) -> None:
        self.parts = [part if isinstance(part, jax.Array) else jnp.array(part) for part in parts]

    def tree_flatten(self) -> Any:
        return self.parts, None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Any) -> Any:
        return cls(*children)


def test_a_container_that_takes_only_arrays_comes_in_and_goes_out() -> None:
    def step(params: Any, blocks: Blocks, x: Any) -> tuple[Blocks, Blocks]:
        return Blocks(blocks.parts[0] * x, blocks.parts[1] + params), Blocks(x)

    args = 0.5, Blocks(X, 2.0), X
    for lower in (brainir.lower, brainir.lower_step):
        ours = brainir.to_callable(brainir.loads(brainir.dumps(lower(step, *args))))
        assert_same_bits(jax.jit(ours)(*args), jax.jit(step)(*args))


def test_a_class_that_a_function_defines_is_that_of_the_argument() -> None:
    class Pair(NamedTuple):
        v: Any
        n: Any

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Cell:
        pair: Pair
        w: Any

    def step(cell: Cell, x: Any) -> tuple[Cell, Pair]:
        pair = Pair(cell.pair.v * cell.w + x, cell.pair.n + 1)
        return Cell(pair, cell.w), pair

    def steps(fn: Callable[..., Any]) -> Any:
        return jax.lax.scan(fn, cell, jnp.stack([X, 2 * X]))

    cell = Cell(Pair(X, jnp.int32(0)), 0.5 * X)
    whole = brainir.to_callable(brainir.lower(step, cell, X))
    assert_same_bits(steps(whole), steps(step))
    stepping = brainir.to_callable(brainir.lower_step(lambda _, cell, x: step(cell, x), {}, cell, X))
    assert_same_bits(steps(lambda cell, x: stepping({}, cell, x)), steps(step))


def test_parts_stand_for_a_container_whose_class_is_imported_but_not_registered() -> None:
    program = brainir.lower(lambda x: Bag(x, "a"), X)
    other = brainir.loads(brainir.dumps(program).replace(f"{__name__}:Bag", f"{__name__}:Kind"))
    assert_same_bits(brainir.to_callable(other)(X), (X,))


@pytest.mark.parametrize(
    ("fn", "args", "message"),
    [
        (
            lambda x: (x, [Bag(x, jnp.sin)]),
            (X,),
            r"result\[1\]\[0\]: besides its arrays this .*:Bag holds the function sin",
        ),
        (
            lambda bag: Bag(bag.value, {1}),
            (Bag(X, "a"),),
            "result: besides its arrays this .*:Bag holds a value of type set",
        ),
        (lambda x: Bag(x, (((((1,),),),),)), (X,), "result: .*:Bag holds a value of type tuple"),
        (lambda x: jax.tree_util.Partial(jnp.sin, x), (X,), "result: .*Partial holds"),
    ],
)
def test_what_is_no_data_is_named_with_its_place(fn: Callable[..., Any], args: Any, message: str) -> None:
    with pytest.raises(brainir.BrainIRError, match=f"{message}.*no argument is like it; return its arrays"):
        brainir.lower(fn, *args)


LEAVES = {"keys": ("w",), "children": (LeafTree(),)}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            CustomTree(type="m:C", origin=0, aux=Aux(value=ClassName(type="no class")), **LEAVES),
            "does not name a class",
        ),
        (
            DataclassTree(type="m:C", fields=(), children=(), static=(("a", (ClassName(type="no"),)),)),
            "does not name a class",
        ),
        (
            CustomTree(type="m:C", origin=0, aux=Aux(value=StaticDict(items=(("a", 1), ("a", 2)))), **LEAVES),
            "a key appears twice",
        ),
        (CustomTree(type="m:C", origin=1, **LEAVES), "no argument has a m:C like the one with origin 1"),
    ],
)
def test_the_verifier_names_what_is_wrong_with_a_container(tree: Tree, message: str) -> None:
    program = brainir.lower(lambda x: (Bag(x, "a"),), X)
    result = program.interface.result.replace(children=(tree,))
    with pytest.raises(brainir.BrainIRError, match=re.escape(message)):
        brainir.verify(program.replace(interface=program.interface.replace(result=result)))
