import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from traces.exports.columns import beside, decimal, fixed, hexadecimal, lines, only, plain, texts

NUMBERS = st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20)
UNSIGNED = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20)


@given(values=NUMBERS)
def test_decimal_is_what_python_writes(values: list[int]):
    assert lines(decimal(np.array(values)), b"\n").decode().split() == [str(value) for value in values]


@given(values=UNSIGNED)
def test_hexadecimal_is_what_python_writes(values: list[int]):
    array = np.array(values, np.uint64)
    assert lines(hexadecimal(array), b" ").decode().split() == [f"{value:016x}" for value in values]
    assert lines(hexadecimal(array, short=True), b" ").decode().split() == [f"{value:x}" for value in values]


@given(values=st.lists(st.integers(0, 2**50), min_size=1, max_size=20))
def test_fixed_is_what_python_writes(values: list[int]):
    wanted = [f"{value // 1000}.{value % 1000:03d}" for value in values]
    assert lines(fixed(np.array(values), 3), b" ").decode().split() == wanted


@given(table=st.lists(st.text(max_size=6), max_size=6))
def test_texts_keep_to_one_field_of_one_line(table: list[str]):
    written = lines(texts(["", *table]), b"\n").decode()
    assert written.split("\n")[1:-1] == [plain(text) for text in table]


def test_what_would_end_a_field_is_a_question_mark():
    assert plain("a\nb\tc\0d\ud800\x7f e") == "a?b?c?d?? e"


def test_rows_may_be_left_out():
    column = beside([b"<", decimal(np.arange(3)), b">"], 3)
    assert lines(only(column, np.array([True, False, True])), b";") == b"<0>;;<2>;"
