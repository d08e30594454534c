"""What goes wrong: a deny that was to be an allow, and calls without an answer. None of it is ever an allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from .decision import Decision, Denial

#: Nothing can be said now: hallpass isn't there, is not ready, or did not answer in time.
UNREACHABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"})


class HallpassError(Exception):
    """Any of the errors below."""


class Denied(HallpassError):
    """It was decided, and it is a deny. `denial` is the realm's answer for the end client."""

    def __init__(self, decision: Decision, denial: Denial) -> None:
        codes = ", ".join(reason.code for reason in decision.reasons) or decision.outcome.value
        super().__init__(f"denied: {codes}")
        self.decision = decision
        self.denial = denial


@dataclass(frozen=True)
class FieldViolation:
    """A field of the request that is wrong."""

    field: str
    description: str


class CallError(HallpassError):
    """There is no answer. `code` is the gRPC status's name, `reason` the stable code of docs/errors.md."""

    def __init__(self, code: str, message: str, reason: str = "", violations: Sequence[FieldViolation] = ()) -> None:
        super().__init__(f"{code} {reason}: {message}" if reason else f"{code}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)

    @property
    def is_unreachable(self) -> bool:
        """It may go better later, or at another instance."""
        return self.code in UNREACHABLE


def call_error(error: Any) -> CallError:
    """The error of a call of grpc or grpc.aio. What was sent is no part of it."""
    reason, violations = "", []
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status.FromString(value)
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(bad):
                violations = [FieldViolation(each.field, each.description) for each in bad.field_violations]
    return CallError(error.code().name, error.details() or "", reason, violations)


def code_name(number: int) -> str:
    """The name of a gRPC status code."""
    return next((code.name for code in grpc.StatusCode if code.value[0] == number), "UNKNOWN")
