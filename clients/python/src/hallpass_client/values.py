"""Values as Python has them, and as they cross the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .v1 import values_pb2 as pb


@dataclass(frozen=True)
class Entity:
    """A reference to an entity: its type of the realm's schema, and its id."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


# None is "no value": the attribute is declared but empty. There are no decimals; whole numbers have 64 bits.
Value: TypeAlias = "bool | int | str | Entity | Sequence[Value] | Mapping[str, Value] | None"


def to_wire(value: Value) -> pb.Value:
    """The value as it is sent. Raises `TypeError` for a type that has no form on the wire, `ValueError` for a whole
    number beyond 64 bits."""
    match value:
        case None:
            return pb.Value()
        case bool():
            return pb.Value(bool_value=value)
        case int():
            return pb.Value(int_value=value)
        case str():
            return pb.Value(string_value=value)
        case Entity():
            return pb.Value(entity_value=entity_to_wire(value))
        case Mapping():
            return pb.Value(record_value=pb.RecordValue(fields=record_to_wire(value)))
        case bytes() | bytearray() | memoryview():
            raise TypeError("expected text, found bytes")
        case Sequence():
            return pb.Value(list_value=pb.ListValue(values=[to_wire(item) for item in value]))
    raise TypeError(f"expected None, bool, int, str, Entity, a list or a record, found {type(value).__name__}")


def from_wire(value: pb.Value) -> Value:
    """The value as Python has it; lists and records are plain `list` and `dict`."""
    match value.WhichOneof("kind"):
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "string_value":
            return value.string_value
        case "entity_value":
            return entity_from_wire(value.entity_value)
        case "list_value":
            return [from_wire(item) for item in value.list_value.values]
        case "record_value":
            return record_from_wire(value.record_value.fields)
        case _:
            return None


def record_to_wire(record: Mapping[str, Value]) -> dict[str, pb.Value]:
    """Named values as they are sent."""
    return {name: to_wire(value) for name, value in record.items()}


def record_from_wire(record: Mapping[str, pb.Value]) -> dict[str, Value]:
    """Named values as Python has them."""
    return {name: from_wire(value) for name, value in record.items()}


def entity_to_wire(entity: Entity) -> pb.EntityReference:
    """A reference as it is sent."""
    return pb.EntityReference(type=entity.type, id=entity.id)


def entity_from_wire(reference: pb.EntityReference) -> Entity:
    """A reference as Python has it."""
    return Entity(reference.type, reference.id)
