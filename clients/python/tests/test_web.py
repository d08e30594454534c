"""The middleware and the dependency, in front of applications, with a real server behind."""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from conftest import Server
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from fake import ALLOW, Fake, serving
from fastapi import Depends, FastAPI, Request

from hallpass_client import (
    AccessRequest,
    AsyncClient,
    CallError,
    Credentials,
    Decision,
    FieldViolation,
    Resource,
    SearchRequest,
    TokenProof,
    Value,
)
from hallpass_client.asgi import App, HallpassMiddleware, http_request
from hallpass_client.fastapi import Guard
from hallpass_client.v1 import authorization_pb2 as pb
from hallpass_client.web import PUBLIC, HttpRequest, Public, Routes, Rule, answer_of_failure, completed, credentials_of

pytestmark = pytest.mark.anyio


def enrolled(student: str) -> dict[str, Value]:
    return {"schoolReference": {"schoolId": 101}, "studentReference": {"studentUniqueId": student}}


ROUTES = Routes(
    {
        "GET /health": PUBLIC,
        "GET /students/{key}": Rule("Read", "ed-fi/students", "{key}", {"studentUniqueId": "{key}"}),
        "WEBSOCKET /students/{key}": Rule("Read", "ed-fi/students", "{key}", {"studentUniqueId": "{key}"}),
        "POST /enrolments/{student}": lambda segments: AccessRequest(
            action="Create",
            obligations=["stamp_ownership"],
            resource=Resource(
                "ed-fi/studentSchoolAssociations",
                proposed=enrolled(segments["student"]),
            ),
        ),
    }
)


@pytest.fixture
async def hallpass(server: Server) -> AsyncIterator[AsyncClient]:
    """A client of the real server."""
    async with AsyncClient(server.address, realm="edfi") as client:
        yield client


def application() -> FastAPI:
    """Shows that it was reached, and what it was told."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "DELETE"])
    async def reached(path: str, request: Request) -> dict[str, Any]:
        decision: Decision | None = getattr(request.state, "hallpass", None)
        return {"path": path, "obligations": [each.id for each in decision.obligations] if decision else None}

    return app


async def ask(app: App, method: str, url: str, *headers: tuple[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:
        return await client.request(method, url, headers=list(headers))


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


async def test_what_is_allowed_or_public_reaches_the_application(hallpass: AsyncClient, token: str) -> None:
    app = HallpassMiddleware(application(), hallpass, ROUTES)
    for method, path, obligations in (
        ("GET", "/students/ada", []),
        ("POST", "/enrolments/ada", ["stamp_ownership"]),
        ("GET", "/health", None),
    ):
        answer = await ask(app, method, path, bearer(token))
        assert (answer.status_code, answer.json()) == (200, {"path": path[1:], "obligations": obligations})
    assert (await ask(app, "GET", "/health")).status_code == 200
    assert (await ask(app, "HEAD", "/students/ada", bearer(token))).status_code == 200


async def test_a_denied_request_gets_the_realms_answer(hallpass: AsyncClient, token: str) -> None:
    app = HallpassMiddleware(application(), hallpass, ROUTES)
    answer = await ask(app, "GET", "/students/fay", bearer(token), ("X-Request-Id", "r-7"))
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["correlationId"] == "r-7"
    assert answer.json()["type"].startswith("urn:ed-fi:api:security:authorization")
    assert (await ask(app, "HEAD", "/students/fay", bearer(token))).status_code == 403


async def test_a_request_without_a_good_token_is_unauthenticated(hallpass: AsyncClient, token: str) -> None:
    app = HallpassMiddleware(application(), hallpass, ROUTES)
    for headers in ([], [bearer("no.token.this")], [("Authorization", "Basic YTpi")], [("Authorization", "Bearer")]):
        answer = await ask(app, "GET", "/students/ada", *headers)
        assert answer.status_code == 401, headers
    both = await ask(app, "GET", f"/students/ada?access_token={token}", bearer(token))
    assert both.status_code == 400
    twice = [bearer(token), bearer(token)]
    joined = [("Authorization", f"Bearer {token}, Bearer {token}")]
    for headers in (twice, joined):
        assert (await ask(app, "GET", "/students/ada", *headers)).status_code == 400
    query = await ask(app, "GET", "/students/ada?access_token=a&access_token=b")
    assert query.status_code == 400


async def test_what_has_no_rule_is_refused(hallpass: AsyncClient, token: str) -> None:
    app = HallpassMiddleware(application(), hallpass, ROUTES)
    routes = ["DELETE /students/ada", "OPTIONS /students/ada", "GET /students/ada/", "GET /Students/ada", "GET /"]
    for method, path in map(str.split, routes):
        answer = await ask(app, method, path, bearer(token))
        assert (answer.status_code, answer.json()["detail"]) == (403, "nobody may use this route")
    assert ROUTES(HttpRequest("get", "/students/ada", [])) is None


@pytest.mark.parametrize("path", ["/students//ada", "/students/a%2Fb", "/students/ada%0a", "/students/%ff"])
async def test_a_path_that_can_be_read_differently_is_refused(hallpass: AsyncClient, token: str, path: str) -> None:
    for app in (HallpassMiddleware(application(), hallpass, ROUTES), guarded(hallpass)):
        answer = await ask(app, "GET", path, bearer(token))
        # What FastAPI's own router has no route for gets to no dependency.
        assert answer.status_code == 400 or (answer.status_code == 404 and not isinstance(app, HallpassMiddleware))


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/students/ada", "X-HTTP-Method-Override", "DELETE"),
        ("/students/ada", "X_HTTP_Method_Override", "DELETE"),
        ("/students/ada", "x-http-method", "DELETE"),
        ("/students/ada", "x-method-override", "DELETE"),
        ("/students/ada", "X-Original-URL", "/students/fay"),
        ("/students/ada", "x-rewrite-url", "/students/fay"),
        ("/students/ada?_method=DELETE", "Accept", "*/*"),
    ],
)
async def test_what_asks_to_be_taken_for_another_request_is_refused(
    hallpass: AsyncClient, token: str, path: str, name: str, value: str
) -> None:
    for app in (HallpassMiddleware(application(), hallpass, ROUTES), guarded(hallpass)):
        assert (await ask(app, "GET", path, bearer(token), (name, value))).status_code == 400


async def test_two_media_types_are_refused(hallpass: AsyncClient, token: str) -> None:
    app = HallpassMiddleware(application(), hallpass, ROUTES)
    types = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    assert (await ask(app, "POST", "/enrolments/ada", bearer(token), *types)).status_code == 400


async def test_a_client_without_a_realm_guards_nothing() -> None:
    nobody = AsyncClient("127.0.0.1:1")
    with pytest.raises(ValueError, match="expected a client with a realm"):
        HallpassMiddleware(application(), nobody, ROUTES)
    with pytest.raises(ValueError, match="expected a client with a realm"):
        Guard(nobody)


async def test_a_decision_stays_with_its_request(hallpass: AsyncClient, token: str) -> None:
    decisions: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        decisions.append((scope["path"], scope["state"]))

    async def nothing(*_: Any) -> Any:
        return None

    shared = {"pool": 1}  # of a connection, as some servers have it
    guard = HallpassMiddleware(app, hallpass, ROUTES)
    headers = [(b"authorization", f"Bearer {token}".encode())]
    for path in ("/students/ada", "/students/bo", "/health"):
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "state": shared}
        await guard(scope, nothing, nothing)
    (_, ada), (_, bo), (_, health) = decisions
    assert ada["hallpass"].decision_id != bo["hallpass"].decision_id
    assert ada["pool"] == 1 and health == shared == {"pool": 1}


async def test_only_what_is_known_reaches_the_application(hallpass: AsyncClient) -> None:
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return None

    guard = HallpassMiddleware(app, hallpass, ROUTES)
    await guard({"type": "lifespan"}, nothing, nothing)
    with pytest.raises(ValueError, match="found `webtransport`"):
        await guard({"type": "webtransport", "path": "/health", "headers": []}, nothing, nothing)
    assert reached == ["lifespan"]
    # A method of HTTP may have any name.
    table = Routes({"WEBSOCKET /chat": PUBLIC})
    answer = await ask(HallpassMiddleware(application(), hallpass, table), "WEBSOCKET", "/chat")
    assert (answer.status_code, answer.json()["detail"]) == (400, "no method of HTTP")


async def test_a_mapper_that_says_nothing_sensible_lets_nobody_through(hallpass: AsyncClient, token: str) -> None:
    nonsense: list[Any] = [None, False, True, "", "x", 0, {}, Public, lambda: PUBLIC]
    while nonsense:
        app = HallpassMiddleware(application(), hallpass, lambda _: nonsense[0])
        assert (await ask(app, "GET", "/students/ada", bearer(token))).status_code in (403, 500), nonsense[0]
        nonsense.pop(0)


async def test_an_answer_that_is_not_awaited_is_no_allow(hallpass: AsyncClient, token: str) -> None:
    question = AccessRequest(
        token=token, action="Read", resource=Resource("ed-fi/students", "ada", {"studentUniqueId": "ada"})
    )
    for forgotten in (hallpass.authorize(question), hallpass.require(question)):
        with pytest.raises(TypeError, match="expected `await`"):
            bool(forgotten)
    assert await hallpass.authorize(question)
    tasks = [asyncio.create_task(hallpass.authorize(question)), asyncio.ensure_future(hallpass.require(question))]
    assert all(await asyncio.gather(*tasks, hallpass.authorize(question)))
    assert await asyncio.wait_for(hallpass.authorize(question), 60)


async def test_a_request_shows_neither_tokens_nor_people(token: str) -> None:
    path = f"/students/ada?access_token={token}".encode()
    headers = [(b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/students/ada", "headers": headers, "query_string": path[14:]}
    shown = repr(http_request(scope))
    assert token not in shown and "ada" not in shown


async def test_names_are_decoded_once(hallpass: AsyncClient) -> None:
    seen: list[HttpRequest] = []

    def routes(request: HttpRequest) -> AccessRequest | None:
        seen.append(request)
        return None

    await ask(HallpassMiddleware(application(), hallpass, routes), "GET", "/students/K%C3%A4the%20%C2%B7")
    assert seen[0].path == "/students/Käthe ·"
    assert seen[0].url == "https://api.example/students/K%C3%A4the%20%C2%B7"
    scope = {"type": "http", "method": "GET", "path": "/api/v1/x", "root_path": "/api", "headers": []}
    assert http_request(scope).path == "/v1/x"


async def test_the_first_route_that_fits_counts() -> None:
    routes = Routes({"GET /a/{x}": Rule("Read", "one", "{x}"), "GET /a/b": PUBLIC, "GET /{x}/{y}": Rule("Read", "two")})
    found = routes(HttpRequest("GET", "/a/b", []))
    assert isinstance(found, AccessRequest) and found.resource == Resource("one", "b")
    found = routes(HttpRequest("HEAD", "/b/b", []))
    assert isinstance(found, AccessRequest) and found.resource == Resource("two")
    assert routes(HttpRequest("GET", "/a/", [])) is None
    wrong_paths = ["//b", "/../b", "/a%2fb", "/a?b", "/a#b", "/{a}.{b}", "/a{b}", "/{a:int}", "/{a}/{a}", "/{}"]
    for wrong in ["get /a", "GET a", "/a", *(f"GET {path}" for path in wrong_paths)]:
        with pytest.raises(ValueError, match="expected a route like"):
            Routes({wrong: PUBLIC})
    for rule in (Rule("Read", "one", "{y}"), Rule("Read", "one", attributes={"a": "{x}{y}"})):
        with pytest.raises(ValueError, match="the path has no segment `y`"):
            Routes({"GET /a/{x}": rule})


async def test_what_fits_another_route_but_for_letters_and_slashes_is_refused() -> None:
    rule = Rule("Read", "one", "{x}")
    find = Routes(
        {
            "GET /a/{x}": rule,
            "GET /A/{x}/": Rule("Read", "one", "{x}"),
            "GET /b/{x}/": Rule("Read", "two", "{x}"),
            "GET /b/{x}": rule,
            "GET /c/{x}": rule,
            "GET /c/Me": PUBLIC,
            "GET /schüler": PUBLIC,
            "GET /h/{x}": rule,
            "HEAD /h/x": PUBLIC,
        }
    )
    for path in ("/a/1", "/A/1/", "/c/you", "/c/Me"):
        found = find(HttpRequest("GET", path, []))
        assert isinstance(found, AccessRequest) and found.resource == Resource("one", path.split("/")[2])
    for path in ("/A/1", "/a/1/", "/b/1", "/b/1/", "/c/me", "/c/Me/", "/SCHÜLER"):
        assert find(HttpRequest("GET", path, [])) is None, path
    assert find(HttpRequest("GET", "/schüler", [])) is PUBLIC
    # Express runs the first of the two, FastAPI the second.
    assert find(HttpRequest("HEAD", "/h/x", [])) is None
    assert find(HttpRequest("HEAD", "/h/y", [])) is not None


async def test_what_a_request_says_of_itself_goes_along() -> None:
    headers = [("accept", "a/b"), ("accept", "c/d"), ("content-type", "e/f"), ("x-request-id", "r 1")]
    read = completed(AccessRequest(action="Read"), HttpRequest("GET", "/x", headers))
    assert (read.media_type, read.request_id) == ("a/b, c/d", "")
    write = completed(AccessRequest(action="Create", request_id="mine"), HttpRequest("POST", "/x", headers))
    assert (write.media_type, write.request_id) == ("e/f", "mine")


async def test_a_proof_of_possession_goes_along() -> None:
    headers = [("authorization", "DPoP abc"), ("dpop", "p1"), ("dpop", "p2")]
    request = HttpRequest("POST", "/x", headers, url="https://api.example/x")
    credentials = credentials_of(request)
    assert (credentials.scheme, credentials.token) == ("DPoP", "abc")
    assert credentials.proof is not None
    assert (credentials.proof.method, credentials.proof.uri) == ("POST", "https://api.example/x")
    assert credentials.proof.dpop == ("p1", "p2")
    assert "p1" not in repr(credentials) and "abc" not in repr(credentials)


class Holder:
    """A client of the API whose tokens are bound to its key (RFC 9449)."""

    def __init__(self) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate()
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._jwk = {"crv": "Ed25519", "kty": "OKP", "x": base64url(raw)}

    @property
    def thumbprint(self) -> str:
        text = json.dumps(self._jwk, separators=(",", ":"), sort_keys=True)
        return base64url(hashlib.sha256(text.encode()).digest())

    def proof(self, token: str, method: str, uri: str) -> str:
        header = {"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self._jwk}
        ath = base64url(hashlib.sha256(token.encode()).digest())
        claims = {"jti": secrets.token_hex(8), "htm": method, "htu": uri, "iat": int(time.time()), "ath": ath}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{base64url(self._key.sign(signed.encode()))}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_a_bound_token_takes_a_proof_for_this_very_request(server: Server, hallpass: AsyncClient) -> None:
    holder = Holder()
    bound = server.token(
        client_id="maple-sis",
        scope="SISVendor",
        educationOrganizationIds="101",
        **{"cnf:": json.dumps({"jkt": holder.thumbprint})},
    )
    app = HallpassMiddleware(application(), hallpass, ROUTES)
    authorization = ("Authorization", f"DPoP {bound}")
    proof = holder.proof(bound, "GET", "https://api.example/students/ada")
    assert (await ask(app, "GET", "/students/ada?x=1", authorization, ("DPoP", proof))).status_code == 200
    other = holder.proof(bound, "GET", "https://api.example/students/bo")
    stranger = Holder().proof(bound, "GET", "https://api.example/students/ada")
    for wrong in (proof, other, stranger, "no.proof.this"):
        assert (await ask(app, "GET", "/students/ada", authorization, ("DPoP", wrong))).status_code == 401
    assert (await ask(app, "GET", "/students/ada", authorization)).status_code == 401
    fresh = [("DPoP", holder.proof(bound, "GET", "https://api.example/students/ada")) for _ in range(2)]
    assert (await ask(app, "GET", "/students/ada", authorization, *fresh)).status_code == 401
    assert (await ask(app, "GET", "/students/ada", bearer(bound))).status_code == 401
    # All of a search comes in one call: a second one would take a second proof.
    once = TokenProof(
        method="GET",
        uri="https://api.example/students",
        dpop=[holder.proof(bound, "GET", "https://api.example/students")],
    )
    credentials = Credentials(token=bound, scheme="DPoP", proof=once)
    search = SearchRequest(token=credentials, action="Read", resource_type="ed-fi/students")
    assert [found.id async for found in hallpass.search(search)] == ["ada", "bo", "cam", "dev", "eli"]


async def test_without_hallpass_nobody_gets_through(token: str) -> None:
    async with AsyncClient("127.0.0.1:1", realm="edfi", timeout=0.3) as nobody:
        app = HallpassMiddleware(application(), nobody, ROUTES)
        answer = await ask(app, "GET", "/students/ada", bearer(token))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "127.0.0.1" not in answer.text
        assert (await ask(app, "GET", "/health")).status_code == 200
        assert (await ask(guarded(nobody), "GET", "/students/ada", bearer(token))).status_code == 503


async def test_a_question_that_hallpass_refuses_allows_nothing(hallpass: AsyncClient, token: str) -> None:
    wrong = Routes({"GET /students/{key}": Rule("Fly", "ed-fi/students")})
    answer = await ask(HallpassMiddleware(application(), hallpass, wrong), "GET", "/students/ada", bearer(token))
    assert (answer.status_code, answer.json()["detail"]) == (500, "access cannot be decided")
    app = HallpassMiddleware(application(), hallpass, ROUTES)
    long = await ask(app, "GET", "/students/ada", bearer("x" * 20_000))
    assert long.status_code in (400, 401)
    long = await ask(app, "GET", "/students/ada", bearer(token), ("Accept", "x" * 2_000))
    assert long.status_code == 400

    def broken(request: HttpRequest) -> AccessRequest:
        raise KeyError("a bug")

    answer = await ask(HallpassMiddleware(application(), hallpass, broken), "GET", "/students/ada", bearer(token))
    assert answer.status_code == 500


async def test_the_words_of_a_failure_name_nothing_of_ours() -> None:
    violations = [FieldViolation("action", "unknown `x`")]
    for error in (CallError("NOT_FOUND", "unknown realm `x`"), CallError("INVALID_ARGUMENT", "x", "X", violations)):
        answer = answer_of_failure(error)
        assert answer.status == 500 and b"x`" not in answer.body


async def test_a_function_may_be_a_coroutine(hallpass: AsyncClient, token: str) -> None:
    async def routes(request: HttpRequest) -> AccessRequest:
        resource = Resource("ed-fi/students", "ada", {"studentUniqueId": "ada"})
        return AccessRequest(action="Read", resource=resource)

    app = HallpassMiddleware(application(), hallpass, routes)
    assert (await ask(app, "GET", "/anything", bearer(token))).status_code == 200


async def test_a_socket_is_closed_before_it_is_accepted(hallpass: AsyncClient, token: str) -> None:
    async def socket(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    app = HallpassMiddleware(socket, hallpass, ROUTES)

    async def shake(path: str) -> list[str]:
        sent: list[str] = []

        async def send(message: Any) -> None:
            sent.append(message["type"])

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        headers = [(b"authorization", f"Bearer {token}".encode())]
        await app({"type": "websocket", "path": path, "headers": headers}, receive, send)
        return sent

    assert await shake("/students/ada") == ["websocket.accept"]
    assert await shake("/students/fay") == ["websocket.close"]
    assert await shake("/health") == ["websocket.close"]


def student(request: Request) -> Resource:
    key = request.path_params["key"]
    return Resource("ed-fi/students", key, {"studentUniqueId": key})


async def enrolment(request: Request) -> Resource:
    return Resource("ed-fi/studentSchoolAssociations", proposed=await request.json())


def guarded(client: AsyncClient) -> FastAPI:
    """An application whose routes say what they ask."""
    app = FastAPI()
    guard = Guard(client)
    guard.install(app)
    reads = guard.requires("Read", student)
    creates = guard.requires("Create", enrolment, obligations=["stamp_ownership"])

    @app.get("/students/{key}")
    async def read_student(key: str, decision: Annotated[Decision, Depends(reads)]) -> str:
        return decision.decision_id

    @app.post("/enrolments")
    async def enrol(decision: Annotated[Decision, Depends(creates)]) -> list[Any]:
        return [each.parameters for each in decision.obligations]

    return app


async def test_a_route_of_fastapi_gets_its_decision(hallpass: AsyncClient, token: str) -> None:
    app = guarded(hallpass)
    answer = await ask(app, "GET", "/students/ada", bearer(token))
    assert answer.status_code == 200 and answer.json()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as client:
        answer = await client.post("/enrolments", json=enrolled("ada"), headers=[bearer(token)])
    assert (answer.status_code, answer.json()) == (200, [{"createdByOwnershipTokenId": 7}])


async def test_a_route_of_fastapi_answers_a_deny_as_the_realm_does(hallpass: AsyncClient, token: str) -> None:
    app = guarded(hallpass)
    answer = await ask(app, "GET", "/students/fay", bearer(token), ("X-Request-Id", "r-8"))
    assert (answer.status_code, answer.json()["correlationId"]) == (403, "r-8")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await ask(app, "GET", "/students/ada")).status_code == 401
    twice = [bearer(token), bearer(token)]
    assert (await ask(app, "GET", "/students/ada", *twice)).status_code == 400


async def test_an_obligation_that_the_route_does_not_fulfil_is_a_deny() -> None:
    answer = pb.AuthorizeResponse()
    answer.CopyFrom(ALLOW)
    answer.obligations.add(id="mask")
    with serving(Fake([answer])) as address:
        async with AsyncClient(address, realm="edfi") as client:
            assert (await ask(guarded(client), "GET", "/students/ada")).status_code == 403
            app = HallpassMiddleware(application(), client, ROUTES)
            refused = await ask(app, "GET", "/students/ada")
            assert (refused.status_code, json.loads(refused.text)["title"]) == (403, "Forbidden")


async def test_headers_of_the_realm_come_along() -> None:
    denial = pb.Denial(status=401, headers={"WWW-Authenticate": 'JWT realm="x"'})
    answer = pb.AuthorizeResponse(decision=pb.DECISION_DENY, outcome=pb.OUTCOME_UNAUTHENTICATED, denial=denial)
    with serving(Fake([answer])) as address:
        async with AsyncClient(address, realm="edfi") as client:
            refused = await ask(HallpassMiddleware(application(), client, ROUTES), "GET", "/students/ada")
            assert (refused.status_code, refused.content) == (401, b"")
            assert refused.headers["www-authenticate"] == 'JWT realm="x"'
            assert "content-type" not in refused.headers
