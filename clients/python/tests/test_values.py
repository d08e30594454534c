"""Values there and back again."""

from __future__ import annotations

import pytest

from hallpass_client import Entity, Value
from hallpass_client.values import from_wire, to_wire


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -(2**63),
        2**63 - 1,
        "",
        "Käthe",
        Entity("School", "101"),
        [],
        {},
        [1, "a", None, [True]],
        {"a": {"b": [Entity("Student", "ada")]}, "c": None},
    ],
)
def test_every_value_comes_back_as_it_was(value: Value) -> None:
    back = from_wire(to_wire(value))
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("value", [1.5, b"bytes", object(), {"a": 1.5}, [b"x"]])
def test_what_has_no_form_on_the_wire_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="expected"):
        to_wire(value)  # type: ignore[arg-type]


def test_whole_numbers_have_64_bits() -> None:
    for number in (2**63, -(2**63) - 1):
        with pytest.raises(ValueError):
            to_wire(number)
