import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditbench.data.class_names import find_classes, match_classes, natural
from ditbench.errors import DitbenchError

NAMES = ("cat", "dog", "eel")
DIGITS = tuple("0123456789")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLANES = ("airplane", "automobile", "bird")


@given(st.lists(st.integers(0, 10**6), unique=True), st.sampled_from(["", "class ", "c_"]))
def test_numbers_are_in_order_of_their_values(numbers, prefix):
    names = [f"{prefix}{number}" for number in numbers]
    assert sorted(names, key=natural) == [f"{prefix}{number}" for number in sorted(numbers)]


@given(st.lists(st.text("abcXYZ -_é漢", max_size=5)))
def test_names_without_numbers_are_in_the_old_order(names):
    assert sorted(names, key=natural) == sorted(names)


@given(st.lists(st.text("a01 ²٣b", max_size=6), unique=True), st.randoms())
def test_the_order_does_not_depend_on_the_order_before(names, chance: random.Random):
    other = names.copy()
    chance.shuffle(other)
    assert sorted(names, key=natural) == sorted(other, key=natural)


def test_numbers_of_thousands_of_digits_are_in_order():
    names = ["1" + "0" * 9_000, "9" * 9_000, "c" * 9_000]
    assert sorted(names, key=natural) == [names[1], names[0], names[2]]


@pytest.mark.parametrize(
    ("given", "names", "labels"),
    [
        (["dog"], NAMES, [1]),
        (["2", "cat", "0"], NAMES, [2, 0]),
        (["2", "10"], tuple(map(str, range(12))), [2, 10]),
        (["3", "1"], ("1", "2", "3"), [2, 0]),  # names, not labels
        (["03"], ("1", "03"), [1]),
    ],
)
def test_classes_by_name_or_label(given, names, labels):
    assert find_classes(given, names) == labels


@pytest.mark.parametrize(
    ("given", "names", "hint"),
    [
        ("3", NAMES, "the classes are cat, dog, eel; or 0 to 2"),
        ("-1", NAMES, "the classes are"),
        ("", NAMES, "the classes are"),
        ("0", ("1", "2"), "the classes are 1, 2"),  # would be the label of class 1
        ("Dog", NAMES, "the classes are"),
        ("9" * 5_000, NAMES, "the classes are"),
    ],
)
def test_an_unknown_class_is_refused_with_a_hint(given, names, hint):
    with pytest.raises(DitbenchError, match="there is no class") as raised:
        find_classes([given], names)
    assert raised.value.hint.startswith(hint)
    assert len(raised.value.message) < 500


@given(st.permutations(DIGITS))
def test_each_class_is_matched_with_its_own(names):
    expected = list(DIGITS) if names == list(DIGITS) else names
    assert match_classes(names, DIGITS) == [int(name) for name in expected]


@pytest.mark.parametrize(
    ("names", "others", "expected"),
    [
        (sorted(WORDS), DIGITS, [WORDS.index(word) for word in sorted(WORDS)]),
        ([f"0{digit}" for digit in DIGITS], DIGITS, list(range(10))),
        (["Auto-mobile", "BIRD", "air plane"], PLANES, [1, 2, 0]),
        (["0", "1", "2"], PLANES, [0, 1, 2]),  # a data set without names
        (["1", "0", "2"], PLANES, None),
        (["1", "2", "3"], PLANES, None),
        (["airplane", "automobile", "cat"], PLANES, None),
        (["bird", "Bird", "airplane"], PLANES, None),
        ([f"c{digit}" for digit in DIGITS], DIGITS, None),
    ],
)
def test_names_that_are_matched_and_names_that_are_not(names, others, expected):
    assert match_classes(names, others) == expected
