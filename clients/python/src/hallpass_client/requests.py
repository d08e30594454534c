"""What is asked. Tokens and proofs are in no `repr`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .v1 import authorization_pb2 as pb
from .v1 import explanation_pb2
from .values import Entity, Value, entity_to_wire, record_to_wire

Explain = Literal["NONE", "REASONS", "FULL"]


@dataclass(frozen=True, kw_only=True)
class TokenProof:
    """What the request showed of the key that its token may be bound to (RFC 9449, RFC 8705)."""

    method: str = ""
    uri: str = field(default="", repr=False)
    dpop: Sequence[str] = field(default=(), repr=False)
    client_certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A token with all that came with it. A plain `str` in its place is a token of the scheme `Bearer`."""

    token: str = field(default="", repr=False)
    scheme: str = ""
    query_token: str = field(default="", repr=False)
    proof: TokenProof | None = None

    @property
    def counts_once(self) -> bool:
        """A second call with them would be taken for a replay (RFC 9449 section 11.1)."""
        return self.proof is not None and len(self.proof.dpop) > 0


@dataclass(frozen=True)
class Resource:
    """What an action is done to. `attributes` are the stored values, `proposed` those of the request's body: `None` is
    "there are none", an empty record is one without values."""

    type: str
    id: str = ""
    attributes: Mapping[str, Value] | None = None
    proposed: Mapping[str, Value] | None = None

    def to_wire(self) -> pb.Resource:
        """The message."""
        return pb.Resource(
            type=self.type,
            id=self.id,
            attributes=record_to_wire(self.attributes or {}),
            proposed=record_to_wire(self.proposed or {}),
            has_attributes=self.attributes is not None,
            has_proposed=self.proposed is not None,
        )


@dataclass(frozen=True, kw_only=True)
class AccessRequest:
    """One question. In a batch, what an item leaves empty comes from the batch's defaults."""

    action: str = ""
    resource: Resource | None = None
    token: str | Credentials = field(default="", repr=False)
    #: The realm that decides; empty: the client's.
    realm: str = ""
    context: Mapping[str, Value] = field(default_factory=dict)
    #: The obligations that are fulfilled if this is allowed; `None`: the client's.
    obligations: Collection[str] | None = None
    #: The `Accept` header of a read, the `Content-Type` of a write.
    media_type: str = ""
    #: Your own id of the request, kept in the decision log. Nothing personal.
    request_id: str = ""
    #: Why the data is asked for, kept in the decision log. Nothing personal.
    purpose: str = ""
    #: Decide on relationships at least this fresh.
    at_least_revision: int = 0
    #: How much the answer says of why; `FULL` takes a caller's token.
    explain: Explain | None = None

    def to_wire(self, realm: str, obligations: Collection[str]) -> pb.AuthorizeRequest:
        """The message."""
        credentials = credentials_of(self.token)
        return pb.AuthorizeRequest(
            realm=self.realm or realm,
            token=credentials.token,
            token_scheme=credentials.scheme,
            query_token=credentials.query_token,
            proof=proof_to_wire(credentials.proof),
            action=self.action,
            resource=self.resource.to_wire() if self.resource else None,
            context=record_to_wire(self.context),
            at_least_revision=self.at_least_revision,
            request_id=self.request_id,
            media_type=self.media_type,
            supported_obligations=sorted(obligations),
            purpose=self.purpose,
            explain=explanation_pb2.ExplainLevel.Value(f"EXPLAIN_LEVEL_{self.explain or 'UNSPECIFIED'}"),
        )


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Which resources of a type may a token act on?"""

    action: str
    resource_type: str
    token: str | Credentials = field(repr=False)
    realm: str = ""
    #: Only these, each with its stored values; `None`: all that the service knows.
    candidates: Sequence[Resource] | None = None
    #: Only what lies within this entity.
    within: Entity | None = None
    context: Mapping[str, Value] = field(default_factory=dict)
    obligations: Collection[str] | None = None
    media_type: str = ""
    request_id: str = ""
    purpose: str = ""
    at_least_revision: int = 0
    #: At most this many resources in a page; 0: all in one, which is what a DPoP proof, good for one call, is good for.
    page_size: int | None = None

    def to_wire(
        self, realm: str, obligations: Collection[str], page_token: str = "", *, filter_only: bool = False
    ) -> pb.SearchResourcesRequest:
        """The message for one page."""
        credentials = credentials_of(self.token)
        return pb.SearchResourcesRequest(
            realm=self.realm or realm,
            token=credentials.token,
            token_scheme=credentials.scheme,
            query_token=credentials.query_token,
            proof=proof_to_wire(credentials.proof),
            action=self.action,
            resource_type=self.resource_type,
            candidates=[candidate.to_wire() for candidate in self.candidates or ()],
            has_candidates=self.candidates is not None,
            within=entity_to_wire(self.within) if self.within else None,
            context=record_to_wire(self.context),
            at_least_revision=self.at_least_revision,
            page_size=self._page_size(credentials),
            page_token=page_token,
            request_id=self.request_id,
            filter_only=filter_only,
            media_type=self.media_type,
            supported_obligations=sorted(obligations),
            purpose=self.purpose,
        )

    def _page_size(self, credentials: Credentials) -> int:
        if self.page_size is not None:
            return self.page_size
        return 0 if credentials.counts_once else 1000


def credentials_of(token: str | Credentials) -> Credentials:
    """The token with all that came with it."""
    return token if isinstance(token, Credentials) else Credentials(token=token)


def token_info_to_wire(token: str | Credentials, realm: str) -> pb.GetTokenInfoRequest:
    """The question what a token may do."""
    credentials = credentials_of(token)
    return pb.GetTokenInfoRequest(
        realm=realm,
        token=credentials.token,
        token_scheme=credentials.scheme,
        query_token=credentials.query_token,
        proof=proof_to_wire(credentials.proof),
    )


def proof_to_wire(proof: TokenProof | None) -> pb.TokenProof | None:
    """The message, where there is a proof."""
    if proof is None:
        return None
    return pb.TokenProof(
        method=proof.method, uri=proof.uri, dpop=list(proof.dpop), client_certificate=proof.client_certificate
    )
