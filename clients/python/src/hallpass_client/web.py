"""What a web server hands over, and what it answers in the place of the application."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

from .decision import Denial, plain_denial
from .errors import CallError
from .path import is_ambiguous, is_any_ambiguous
from .requests import AccessRequest, Credentials, Resource, TokenProof
from .values import Value

_log = logging.getLogger("hallpass_client")

#: Headers by which some frameworks take another method or path than the request has.
_REWRITING = frozenset(
    {"x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"}
)
#: Fields of a request that come from the end client alone.
_END_CLIENTS = re.compile(r"(token|query_token|token_scheme|media_type|proof)\b")


class Public:
    """A route that everybody may use; hallpass is not asked."""

    def __repr__(self) -> str:
        return "PUBLIC"


PUBLIC: Final = Public()


@dataclass(frozen=True)
class HttpRequest:
    """A request as far as it takes part in a decision. Header names are lower-case."""

    method: str
    #: Without the query, decoded once.
    path: str = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)
    query: Sequence[tuple[str, str]] = field(default=(), repr=False)
    #: Scheme, host and path.
    url: str = field(default="", repr=False)

    def all(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name]

    def first(self, name: str) -> str:
        """The first value of a header; empty where there is none."""
        return next(iter(self.all(name)), "")


@dataclass(frozen=True)
class Answer:
    """An answer in the place of the application's."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Refused(Exception):
    """The request is refused before anybody is asked."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.answer = answer_of(plain_denial(status, detail))


def credentials_of(request: HttpRequest) -> Credentials:
    """The token that the request came with, and what proves its possession. Whether they are good is for hallpass to
    say; one that cannot be told from another is refused here (RFC 6750 section 2)."""
    values = request.all("authorization")
    scheme, _, token = (values[0] if values else "").strip().partition(" ")
    token = token.strip()
    if len(values) > 1 or re.search(r"[\s,]", token):
        raise Refused(HTTPStatus.BAD_REQUEST, "expected one access token")
    queries = [value for name, value in request.query if name == "access_token"]
    if len(queries) > 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "expected one access token")
    dpop = tuple(request.all("dpop"))
    proof = TokenProof(method=request.method, uri=request.url, dpop=dpop) if dpop else None
    return Credentials(token=token, scheme=scheme, query_token="".join(queries), proof=proof)


def completed(question: AccessRequest, request: HttpRequest) -> AccessRequest:
    """The question with what the HTTP request says of it: token, media type, request id. Raises `Refused` where it says
    that in more than one way."""
    # A list may come in several headers (RFC 9110 section 5.3); a type may not.
    if len(request.all("content-type")) > 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "expected one media type")
    reads = request.method in ("GET", "HEAD")
    request_id = request.first("x-request-id")
    return replace(
        question,
        token=question.token or credentials_of(request),
        media_type=question.media_type
        or (", ".join(request.all("accept")) if reads else request.first("content-type")),
        request_id=question.request_id or (request_id if re.fullmatch(r"[!-~]{1,128}", request_id) else ""),
    )


def refuse_ambiguous(path: str, raw_path: bytes | None, query: bytes) -> None:
    """Refuses a path that two servers could read differently."""
    if is_ambiguous(path, raw_path, query):
        raise Refused(HTTPStatus.BAD_REQUEST, "the path is ambiguous")


def refuse_rewriting(request: HttpRequest) -> None:
    """Refuses a request that asks to be taken for another."""
    # Some servers read `_` as `-`.
    names = {name.replace("_", "-") for name, _ in request.headers}
    if names & _REWRITING or any(name == "_method" for name, _ in request.query):
        raise Refused(HTTPStatus.BAD_REQUEST, "a method or path in place of the request's own")


def answer_of(denial: Denial, request_id: str = "", more: Mapping[str, str] | None = None) -> Answer:
    """The realm's denial as an answer to the end client."""
    body = denial.body(request_id)
    headers = {"cache-control": "no-store", **(more or {})}
    # Those of the realm take the place of ours.
    headers |= {name.lower(): value for name, value in denial.headers.items()}
    if body:
        headers["content-type"] = "application/problem+json"
    return Answer(denial.status, tuple(headers.items()), body)


def answer_of_failure(error: CallError, request_id: str = "") -> Answer:
    """The answer when hallpass gave none: a refusal, whatever the reason was. Its words name nothing of ours."""
    _log.error("a request is refused because hallpass gave no answer: %s %s", error.code, error.reason)
    if error.is_unreachable:
        busy = plain_denial(HTTPStatus.SERVICE_UNAVAILABLE, "access cannot be decided now, try again later")
        return answer_of(busy, request_id, {"retry-after": "1"})
    if error.violations and all(_END_CLIENTS.match(each.field) for each in error.violations):
        return answer_of(
            plain_denial(HTTPStatus.BAD_REQUEST, "the request's token or media type is malformed"), request_id
        )
    return answer_of(plain_denial(HTTPStatus.INTERNAL_SERVER_ERROR, "access cannot be decided"), request_id)


@dataclass(frozen=True)
class Rule:
    """What a route asks: `{name}` in `id` and in texts of `attributes` stands for that segment of the path."""

    action: str
    type: str
    id: str = ""
    #: The stored values, as far as the path says them.
    attributes: Mapping[str, Value] | None = None
    #: The obligations that the route fulfils; `None`: the client's.
    obligations: Collection[str] | None = None

    def request(self, segments: Mapping[str, str]) -> AccessRequest:
        """The question for these segments. Raises `ValueError` for one that the path does not have."""

        def segment(match: re.Match[str]) -> str:
            if match[1] not in segments:
                raise ValueError(f"the path has no segment `{match[1]}`")
            return segments[match[1]]

        def fill(value: Value) -> Value:
            return re.sub(r"\{([^{}]+)\}", segment, value) if isinstance(value, str) else value

        attributes = None if self.attributes is None else {name: fill(value) for name, value in self.attributes.items()}
        resource = Resource(self.type, re.sub(r"\{([^{}]+)\}", segment, self.id), attributes)
        return AccessRequest(action=self.action, resource=resource, obligations=self.obligations)


#: What a route leads to: a rule, a function of the path's segments, or everybody.
Target = Rule | Public | Callable[[Mapping[str, str]], AccessRequest]


class Routes:
    """A table of routes: `"GET /students/{student}"` to what it asks. As in the application, the first that fits
    counts, so have them in the application's order; a `GET` is good for `HEAD`, too. What is not in the table is
    refused, and what fits another route as well if letters of either size or a slash at the end don't count: which
    handler runs then is up to the application's settings. Raises `ValueError` for a route that no request can have, and
    a rule with a name that its route does not have."""

    def __init__(self, table: Mapping[str, Target]) -> None:
        self._table = [_row(route, target) for route, target in table.items()]
        for row in self._table:
            if isinstance(row.target, Rule):
                row.target.request({name: name for name in row.names if name is not None})

    def __call__(self, request: HttpRequest) -> AccessRequest | Public | None:
        method = request.method
        may_run = [row for row in self._table if row.method == method or (method, row.method) == ("HEAD", "GET")]
        given = request.path.split("/")
        fits = [fit for row in may_run if (fit := row.fit(given)) is not None]
        first = next((fit for fit in fits if fit.is_exact), None)
        if first is None:
            return None
        for fit in fits:
            # Frameworks may also prefer a later `HEAD` to the `GET` before it.
            is_later_head = fit.row.method == method and first.row.method != method
            if (not fit.is_exact or is_later_head) and not fit.asks_the_same(first):
                return None
        target = first.row.target
        if isinstance(target, Public):
            return target
        return target.request(first.segments) if isinstance(target, Rule) else target(first.segments)


@dataclass(frozen=True)
class _Row:
    method: str
    texts: list[str]
    #: In the places of texts that are names, and stand for any text.
    names: list[str | None]
    target: Target

    def fit(self, given: list[str]) -> _Fit | None:
        # A slash at the end is no segment to who doesn't look at it.
        if _count(self.texts) != _count(given):
            return None
        segments: dict[str, str] = {}
        is_exact = len(self.texts) == len(given)
        for text, name, segment in zip(self.texts, self.names, given, strict=False):
            if name is not None:
                segments[name] = segment
            elif text.casefold() != segment.casefold():
                return None
            else:
                is_exact = is_exact and text == segment
        return _Fit(self, segments, is_exact)


@dataclass(frozen=True)
class _Fit:
    row: _Row
    segments: Mapping[str, str]
    #: Whether it fits letter by letter.
    is_exact: bool

    def asks_the_same(self, other: _Fit) -> bool:
        return self.row.target == other.row.target and self.segments == other.segments


def _row(route: str, target: Target) -> _Row:
    method, _, path = route.partition(" ")
    texts = path.split("/")
    names = [match and match[1] for text in texts for match in [re.fullmatch(r"\{([\w-]+)\}", text)]]
    plain = ["x" if name else text for text, name in zip(texts, names, strict=True)]
    named = [name for name in names if name is not None]
    is_plain = not is_any_ambiguous(plain[1:]) and not re.search(r"[{}]", "".join(plain))
    is_route = re.fullmatch("[A-Z]+", method) and path.startswith("/") and is_plain
    if not is_route or len(set(named)) < len(named):
        raise ValueError(f"expected a route like `GET /students/{{student}}`, found `{route}`")
    return _Row(method, texts, names, target)


def _count(texts: list[str]) -> int:
    return len(texts) - 1 if texts[-1] == "" else len(texts)
