"""Answers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any

from .errors import CallError, Denied, HallpassError, code_name
from .v1 import authorization_pb2 as pb
from .v1 import explanation_pb2
from .values import Entity, Value, entity_from_wire, record_from_wire

#: What a search answers with instead of resources; nobody has to declare these for a search.
SEARCH_OBLIGATIONS = frozenset({"row_filter", "authorize_each"})


class Outcome(Enum):
    """How a decision came about."""

    ALLOWED = "ALLOWED"
    NOT_PERMITTED = "NOT_PERMITTED"
    FORBIDDEN = "FORBIDDEN"
    #: Something that was needed could not be evaluated, or an obligation is not understood: denied.
    INDETERMINATE = "INDETERMINATE"
    #: The token is not good: denied.
    UNAUTHENTICATED = "UNAUTHENTICATED"


@dataclass(frozen=True)
class Reason:
    """One reason for a decision."""

    code: str
    message: str
    policy_id: str = ""
    subjects: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Obligation:
    """What must be done with an allow."""

    id: str
    parameters: Mapping[str, Value]


@dataclass(frozen=True)
class Denial:
    """The realm's own answer for the end client: an HTTP problem (RFC 9457)."""

    status: int
    type: str
    title: str
    detail: str
    errors: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Value] = field(default_factory=dict)

    def problem(self, request_id: str = "") -> dict[str, Any]:
        """The members of the body; none where the realm wants no body."""
        texts = {"type": self.type, "title": self.title, "detail": self.detail}
        said = {name: text for name, text in texts.items() if text}
        if not said and not self.members:
            return {}
        body: dict[str, Any] = {**said, "status": self.status}
        if request_id:
            body["correlationId"] = request_id
        if self.errors:
            body["errors"] = list(self.errors)
        # A realm may have a member `status` of its own.
        return body | dict(self.members)

    def body(self, request_id: str = "") -> bytes:
        """The body, `application/problem+json`; empty where the realm wants none."""
        problem = self.problem(request_id)
        return json.dumps(problem, ensure_ascii=False).encode() if problem else b""


@dataclass(frozen=True)
class Decision:
    """An answer. It is true exactly if it allows: `if client.authorize(…):` is safe."""

    allowed: bool
    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    #: What must be done with an allow, in order; each was declared as understood. Empty for a deny.
    obligations: tuple[Obligation, ...] = ()
    #: The realm's answer for the end client; of every deny, and of no allow.
    denial: Denial | None = None
    determining_policies: tuple[str, ...] = ()
    decision_id: str = ""
    policy_version: str = ""
    data_revision: int = 0
    explanation: explanation_pb2.Explanation | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.allowed

    def require(self) -> Decision:
        """Itself, if it allows; raises `Denied` otherwise."""
        if not self.allowed:
            raise Denied(self, self.denial or plain_denial(HTTPStatus.FORBIDDEN))
        return self


@dataclass(frozen=True)
class BatchResult:
    """What came of one item of a batch: a decision, or an error, which is never an allow."""

    decision: Decision | None
    error: CallError | None

    @property
    def allowed(self) -> bool:
        """Whether there is a decision, and it allows."""
        return self.decision is not None and self.decision.allowed

    def __bool__(self) -> bool:
        return self.allowed

    def require(self) -> Decision:
        """The decision, if it allows; raises `Denied`, or the item's `CallError`, otherwise."""
        if self.decision is not None:
            return self.decision.require()
        raise self.error or HallpassError("the item has no answer")


@dataclass(frozen=True)
class FoundResource:
    """A resource that the token may act on; `candidate` is its place among the candidates, from 0."""

    id: str
    candidate: int = 0


@dataclass(frozen=True)
class Page:
    """A page of a search. `complete`: the pages so far hold every resource that the token may act on."""

    decision: Decision
    resources: tuple[FoundResource, ...]
    next_page_token: str = field(repr=False)
    complete: bool


@dataclass(frozen=True)
class ReachableEntity:
    """An entity that a principal reaches, what records say about it, and what stands directly above it."""

    entity: Entity
    facts: Mapping[str, str]
    parents: tuple[Entity, ...]


@dataclass(frozen=True)
class TokenInfo:
    """What a token may do. When it is not active, all else but `reason` is empty."""

    active: bool
    reason: str = ""
    principal: Entity | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    reachable: tuple[ReachableEntity, ...] = ()
    #: The actions that are granted, by resource type.
    resources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: The same by resource claim, of claims that are no resource type.
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Seconds since the epoch.
    expires_at: int = 0


def decision_from_wire(message: pb.AuthorizeResponse, understood: Collection[str]) -> Decision:
    """The answer. An allow with an obligation that is not understood is a deny, whoever sent it."""
    allowed = message.decision == pb.DECISION_ALLOW and message.outcome == pb.OUTCOME_ALLOWED
    foreign = [each.id for each in message.obligations if each.id not in understood]
    if allowed and foreign:
        return _denied_for_obligations(message, foreign)
    outcome = pb.Outcome.Name(message.outcome).removeprefix("OUTCOME_") if _is_known(message.outcome) else ""
    return Decision(
        allowed=allowed,
        outcome=Outcome(outcome) if outcome in Outcome.__members__ else Outcome.INDETERMINATE,
        reasons=tuple(
            Reason(each.code, each.message, each.policy_id, tuple(each.subjects), tuple(each.hints))
            for each in message.reasons
        ),
        obligations=tuple(
            Obligation(each.id, record_from_wire(each.parameters)) for each in message.obligations if allowed
        ),
        denial=None if allowed else _denial(message),
        determining_policies=tuple(message.determining_policies),
        decision_id=message.decision_id,
        policy_version=message.policy_version,
        data_revision=message.data_revision,
        explanation=message.explanation if message.HasField("explanation") else None,
    )


def batch_from_wire(message: pb.BatchAuthorizeResponse, understood: list[Collection[str]]) -> list[BatchResult]:
    """The results in the order of the items. Raises `CallError` if there are more or fewer than items."""
    if len(message.results) != len(understood):
        found = f"expected {len(understood)} results, found {len(message.results)}"
        raise CallError("INTERNAL", found, "ANSWER_INCOMPLETE")
    results = []
    for result, obligations in zip(message.results, understood, strict=True):
        match result.WhichOneof("result"):
            case "response":
                results.append(BatchResult(decision_from_wire(result.response, obligations), None))
            case "error":
                error = result.error
                results.append(BatchResult(None, CallError(code_name(error.code), error.message, error.reason)))
            case _:
                results.append(BatchResult(None, CallError("INTERNAL", "an item has no result", "ANSWER_INCOMPLETE")))
    return results


class PageReader:
    """Puts the parts of a search's answer together; a page without its end is none."""

    def __init__(self, understood: Collection[str]) -> None:
        self._understood = SEARCH_OBLIGATIONS | set(understood)
        self._decision: Decision | None = None
        self._found: list[FoundResource] = []
        self._end: pb.SearchEnd | None = None

    def take(self, message: pb.SearchResourcesResponse) -> None:
        """Takes the next part in."""
        match message.WhichOneof("part"):
            case "answer":
                self._decision = decision_from_wire(message.answer, self._understood)
            case "found":
                self._found += [FoundResource(each.id, each.candidate) for each in message.found.resources]
            case "end":
                self._end = message.end

    def page(self) -> Page:
        """The page. Raises `CallError` if parts are missing."""
        if self._decision is None or self._end is None:
            raise CallError("INTERNAL", "the answer broke off", "ANSWER_INCOMPLETE")
        if not self._decision.allowed:
            return Page(self._decision, (), "", complete=False)
        return Page(self._decision, tuple(self._found), self._end.next_page_token, self._end.complete)


def token_info_from_wire(message: pb.GetTokenInfoResponse) -> TokenInfo:
    """What a token may do."""
    if not message.active:
        return TokenInfo(active=False, reason=message.reason)
    return TokenInfo(
        active=True,
        reason=message.reason,
        principal=entity_from_wire(message.principal) if message.HasField("principal") else None,
        attributes=record_from_wire(message.attributes),
        reachable=tuple(
            ReachableEntity(entity_from_wire(each.entity), dict(each.facts), tuple(map(entity_from_wire, each.parents)))
            for each in message.reachable
        ),
        resources={each.type: tuple(each.actions) for each in message.resources},
        claims={each.claim: tuple(each.actions) for each in message.claims},
        expires_at=message.expires_at_seconds,
    )


def _is_known(outcome: int) -> bool:
    return outcome in pb.Outcome.values()


def _denied_for_obligations(message: pb.AuthorizeResponse, foreign: list[str]) -> Decision:
    names = ", ".join(f"`{name}`" for name in foreign)
    reason = Reason(
        "OBLIGATION_NOT_SUPPORTED", f"it would be allowed with obligations that are not understood: {names}"
    )
    return Decision(
        allowed=False,
        outcome=Outcome.INDETERMINATE,
        reasons=(reason,),
        denial=plain_denial(HTTPStatus.FORBIDDEN),
        determining_policies=tuple(message.determining_policies),
        decision_id=message.decision_id,
        policy_version=message.policy_version,
        data_revision=message.data_revision,
    )


def _denial(message: pb.AuthorizeResponse) -> Denial:
    if not message.HasField("denial"):
        unauthenticated = message.outcome == pb.OUTCOME_UNAUTHENTICATED
        return plain_denial(HTTPStatus.UNAUTHORIZED if unauthenticated else HTTPStatus.FORBIDDEN)
    denial = message.denial
    # Whatever a realm says, a denial is no success and no redirection.
    status = denial.status if 400 <= denial.status <= 599 else HTTPStatus.FORBIDDEN.value
    return Denial(
        status=status,
        type=denial.type,
        title=denial.title,
        detail=denial.detail,
        errors=tuple(denial.errors),
        headers=dict(denial.headers),
        members=record_from_wire(denial.members),
    )


def plain_denial(status: HTTPStatus, detail: str = "") -> Denial:
    """A denial in HTTP's own words."""
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return Denial(status.value, "about:blank", status.phrase, detail, headers=headers)
