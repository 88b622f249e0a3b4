"""Element types, tensor types and literals, compared with JAX and with the bits of numpy arrays."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from brainir.ir.errors import FormatError
from brainir.ir.types import (
    DTYPES,
    USED_BITS,
    TensorType,
    is_literal,
    literal_array,
    literal_text,
    literal_type,
    only_used_bits,
    parse_scalar,
    scalar_text,
)

SCALARS = sorted(set(DTYPES) - {"float0"})
SPECIAL = {
    "float16": (0x7E01, 0xFE00, 0x7D55, 0x8000, 0x0001, 0x7C00, 0xFC00, 0x7BFF),
    "bfloat16": (0x7FC1, 0xFFC0, 0x7F81, 0x8000, 0x0001, 0x7F80, 0xFF80, 0x7F7F),
    "float32": (
        0x7FC00000,
        0x7FC00001,
        0xFFC00000,
        0x7F800001,
        0x80000000,
        0x00000001,
        0x7F800000,
        0x7F7FFFFF,
    ),
    "float64": (0x7FF8000000000000, 0xFFF8000000000001, 0x7FF0000000000001, 1 << 63, 1, 0x7FEFFFFFFFFFFFFF),
}


def elements(dtype: str) -> np.ndarray:
    """Every bit pattern of a type of one byte; random ones and the special ones of longer types."""
    numpy_dtype = DTYPES[dtype]
    if numpy_dtype.itemsize == 1:
        return np.arange(1 << USED_BITS.get(dtype, 8), dtype=np.uint8).view(numpy_dtype)
    random = np.random.default_rng(0).bytes(500 * numpy_dtype.itemsize)
    special = b"".join(bits.to_bytes(numpy_dtype.itemsize, "little") for bits in SPECIAL.get(dtype, ()))
    plain = np.arange(-20, 20).astype(numpy_dtype).tobytes()
    return np.frombuffer(random + special + plain, numpy_dtype)


@pytest.mark.parametrize("dtype", SCALARS)
def test_literals_read_back_to_the_same_bits(dtype):
    for weak_type in (False, True):
        for element in elements(dtype):
            value = np.asarray(element, DTYPES[dtype])
            text = literal_text(value, weak_type)
            assert is_literal(text)
            assert literal_array(text).dtype == value.dtype
            assert literal_array(text).tobytes() == value.tobytes(), text
            assert literal_type(text) == TensorType(dtype, (), weak_type)


@pytest.mark.parametrize("dtype", SCALARS)
def test_elements_with_different_bits_have_different_text(dtype):
    values = {element.tobytes(): np.asarray(element, DTYPES[dtype]) for element in elements(dtype)}
    assert len({scalar_text(value) for value in values.values()}) == len(values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.3), "0.3:f32"),
        (np.float32(-0.0), "-0.0:f32"),
        (np.float64(0.1), "0.1:f64"),
        (np.float32(np.inf), "inf:f32"),
        (np.int8(-7), "-7:i8"),
        (np.uint64(2**64 - 1), "18446744073709551615:u64"),
        (np.bool_(True), "true:bool"),
        (np.complex64(1 - 2j), "0xc00000003f800000:c64"),
        (np.array(0x7FC00001, np.uint32).view(np.float32), "0x7fc00001:f32"),
        (jnp.bfloat16(1.5), "1.5:bf16"),
    ],
)
def test_literals_are_decimal_where_that_is_exact_and_hexadecimal_elsewhere(value, text):
    assert literal_text(np.asarray(value)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.0",
        ":f32",
        "1:f32",
        "1.00:f32",
        "1e0:f32",
        "01:i32",
        "+1:i32",
        "-0:i32",
        " 1:i32",
        "1_0:i32",
        "٣:i32",
        "1.0:i32",
        "300:i8",
        "-1:u8",
        "8:i4",
        "-1:u4",
        "1e40:f32",
        "1e400:f64",
        "99999999999999999999:i32",
        "99999999999999999999:i4",
        "1:bool",
        "True:bool",
        "nan:f4_e2m1fn",
        "NaN:f32",
        "Infinity:f32",
        "0x7fc00000:f32",
        "0x7FC00001:f32",
        "0x7fc0001:f32",
        "0x:c64",
        "0x01:f4_e2m1fn",
        "0xf1:f4_e2m1fn",
        "1j:c64",
        "1:float0",
        "1:key<fry>",
        "1:f31",
        "1:float32",
        "1:f32[2]",
        "1" * 100 + ":f32",
        "1" * 10_000 + ":i32",
    ],
)
def test_literals_have_one_spelling(text):
    with pytest.raises(FormatError):
        literal_type(text)


@pytest.mark.parametrize("dtype", USED_BITS)
def test_bytes_with_bits_that_the_type_does_not_use_are_refused(dtype):
    for byte in range(1 << USED_BITS[dtype], 256):
        with pytest.raises(FormatError):
            parse_scalar(f"0x{byte:02x}", dtype)
        assert not only_used_bits(bytes([0, byte]), dtype)


def test_used_bits_are_those_that_the_types_say():
    numbers = [dtype for dtype in SCALARS if dtype != "bool" and not dtype.startswith("complex")]
    bits = {dtype: (ml_dtypes.iinfo if "int" in dtype else ml_dtypes.finfo)(DTYPES[dtype]).bits for dtype in numbers}
    assert {"bool": 1, **{dtype: count for dtype, count in bits.items() if count < 8}} == USED_BITS
    assert all(only_used_bits(bytes(range(256)), dtype) for dtype in SCALARS if dtype not in USED_BITS)


@pytest.mark.parametrize("dtype", SCALARS)
def test_text_that_is_no_number_is_refused(dtype):
    for text in ("", "x", "0x", "0xg0", "--1", "1,0", "\n", "0" * 70):
        with pytest.raises(FormatError):
            parse_scalar(text, dtype)


@pytest.mark.parametrize("dtype", SCALARS)
def test_types_are_written_as_jax_writes_them(dtype):
    for shape in ((), (0,), (7, 4), (1, 2, 3)):
        expected = jax.core.ShapedArray(shape, DTYPES[dtype]).str_short(short_dtypes=True)
        assert str(TensorType(dtype, shape)) == expected
        assert TensorType.parse(expected) == TensorType(dtype, shape)
        assert TensorType.parse(f"~{expected}") == TensorType(dtype, shape, weak_type=True)


@pytest.mark.parametrize("dtype", SCALARS)
def test_kinds_of_types_agree_with_jax(dtype):
    kind = TensorType(dtype, (2, 3))
    assert kind.is_inexact == jnp.issubdtype(DTYPES[dtype], jnp.inexact)
    assert kind.is_integer == jnp.issubdtype(DTYPES[dtype], jnp.integer)
    assert not kind.is_key
    assert kind.nbytes == np.zeros((2, 3), DTYPES[dtype]).nbytes


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_are_stored_as_their_words(impl):
    keys = jax.random.split(jax.random.key(0, impl=impl), 3)
    kind = TensorType.parse(str(jax.typeof(keys)))
    words = np.asarray(jax.random.key_data(keys))
    assert kind == TensorType(str(keys.dtype), (3,))
    assert kind.storage == (words.dtype, words.shape)
    assert kind.nbytes == words.nbytes
    assert kind.is_key
    assert not kind.is_inexact
    assert not kind.is_integer


def test_float0_takes_no_bytes_and_carries_no_derivative():
    kind = TensorType.parse("float0[5]")
    assert kind.nbytes == 0
    assert not kind.is_inexact
    assert kind.storage[0] == jax.dtypes.float0


def test_keys_of_an_unknown_implementation_cannot_be_stored():
    with pytest.raises(FormatError, match="not known"):
        _ = TensorType.parse("key<mine>[2]").nbytes


def test_huge_types_cost_nothing():
    kind = TensorType.parse(f"f64[{10**17},{10**17}]")
    assert kind.size == 10**34
    assert kind.nbytes == 8 * 10**34


def test_equal_texts_share_one_type():
    assert TensorType.parse("f32[5,6]") is TensorType.parse("f32[5,6]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f32",
        "f32[",
        "f32[]x",
        " f32[]",
        "f32[]\n",
        "f32[07]",
        "f32[-1]",
        "f32[1, 2]",
        "f32[1,]",
        "f32[,]",
        "f32[n]",
        "f32[٣]",
        "f32[1.0]",
        "f32[" + "9" * 19 + "]",
        "float32[3]",
        "f31[3]",
        "F32[3]",
        "~~f32[]",
        "key[]",
        "key<>[]",
        "key<Fry>[]",
        "key<a b>[]",
    ],
)
def test_types_have_one_spelling(text):
    with pytest.raises(FormatError):
        TensorType.parse(text)


def test_a_type_with_the_long_name_of_its_elements_is_refused_with_the_short_one():
    with pytest.raises(FormatError, match=r"unknown element type 'bfloat16' in 'bfloat16\[3\]'; write 'bf16'"):
        TensorType.parse("bfloat16[3]")
    with pytest.raises(FormatError, match="known are bf16, bool"):
        TensorType.parse("single[3]")
