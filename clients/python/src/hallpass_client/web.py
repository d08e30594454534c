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
from .requests import AccessRequest, Credentials, Resource, TokenProof
from .values import Value

_log = logging.getLogger("hallpass_client")

#: What a path may not hold, as it came: a separator or an end in disguise, or steps that servers resolve differently.
_AMBIGUOUS = re.compile(rb"//|\\|%2f|%5c|%00|[\x00-\x1f]|(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
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
    path: str
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
    """The question with what the HTTP request says of it: token, media type, request id."""
    reads = request.method in ("GET", "HEAD")
    request_id = request.first("x-request-id")
    return replace(
        question,
        token=question.token or credentials_of(request),
        # A list may come in several headers (RFC 9110 section 5.3); a type may not.
        media_type=question.media_type
        or (", ".join(request.all("accept")) if reads else request.first("content-type")),
        request_id=question.request_id or (request_id if re.fullmatch(r"[!-~]{1,128}", request_id) else ""),
    )


def refuse_ambiguous(raw_path: bytes) -> None:
    """Refuses a path that two servers could read differently."""
    if not raw_path.startswith(b"/") or _AMBIGUOUS.search(raw_path):
        raise Refused(HTTPStatus.BAD_REQUEST, "the path is ambiguous")


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
    refused. Raises `ValueError` for a route that is none, and a rule with a name that its route does not have."""

    def __init__(self, table: Mapping[str, Target]) -> None:
        self._table = [(*_parsed(route), target) for route, target in table.items()]
        for _, template, target in self._table:
            if isinstance(target, Rule):
                target.request({part[1:-1]: part for part in template if _is_name(part)})

    def __call__(self, request: HttpRequest) -> AccessRequest | Public | None:
        found = self._find(request.method, request.path)
        return self._find("GET", request.path) if found is None and request.method == "HEAD" else found

    def _find(self, method: str, path: str) -> AccessRequest | Public | None:
        given = path.split("/")
        for rule_method, template, target in self._table:
            if rule_method != method or len(template) != len(given):
                continue
            segments: dict[str, str] = {}
            if all(_fits(part, text, segments) for part, text in zip(template, given, strict=True)):
                if isinstance(target, Public):
                    return target
                return target.request(segments) if isinstance(target, Rule) else target(segments)
        return None


def _parsed(route: str) -> tuple[str, list[str]]:
    method, _, path = route.partition(" ")
    if not method.isupper() or not path.startswith("/"):
        raise ValueError(f"expected a route like `GET /students/{{student}}`, found `{route}`")
    return method, path.split("/")


def _is_name(part: str) -> bool:
    return part.startswith("{") and part.endswith("}")


def _fits(part: str, text: str, segments: dict[str, str]) -> bool:
    if _is_name(part):
        segments[part[1:-1]] = text
        return bool(text)
    return part == text
