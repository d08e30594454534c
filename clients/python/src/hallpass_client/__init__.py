"""Asks hallpass what the holder of a token may do.

A deny is an answer, an error is never an allow, and an allow with an obligation that was not declared is a deny.
"""

from .aio import AsyncClient
from .channel import TLS
from .client import Client
from .decision import (
    BatchResult,
    Decision,
    Denial,
    FoundResource,
    Obligation,
    Outcome,
    Page,
    ReachableEntity,
    Reason,
    TokenInfo,
)
from .errors import CallError, Denied, FieldViolation, HallpassError
from .requests import AccessRequest, Credentials, Resource, SearchRequest, TokenProof
from .values import Entity, Value

__all__ = [
    "TLS",
    "AccessRequest",
    "AsyncClient",
    "BatchResult",
    "CallError",
    "Client",
    "Credentials",
    "Decision",
    "Denial",
    "Denied",
    "Entity",
    "FieldViolation",
    "FoundResource",
    "HallpassError",
    "Obligation",
    "Outcome",
    "Page",
    "ReachableEntity",
    "Reason",
    "Resource",
    "SearchRequest",
    "TokenInfo",
    "TokenProof",
    "Value",
]
