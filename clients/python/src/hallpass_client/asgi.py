"""Middleware for any ASGI application: asks before the application sees the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from inspect import isawaitable
from typing import Any
from urllib.parse import parse_qsl

from .aio import AsyncClient
from .decision import plain_denial
from .errors import CallError, Denied
from .requests import AccessRequest
from .web import (
    Answer,
    HttpRequest,
    Public,
    Refused,
    answer_of,
    answer_of_failure,
    completed,
    refuse_ambiguous,
    refuse_rewriting,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Question = AccessRequest | Public | None
Mapper = Callable[[HttpRequest], Question | Awaitable[Question]]


class HallpassMiddleware:
    """Lets a request pass that is allowed or public; answers all others itself.

    `routes` says what a request asks: `Routes`, or a function of your own. What it knows nothing of is refused. The
    decision is in `scope["state"]["hallpass"]` (`request.state.hallpass`), with the obligations to fulfil. WebSockets
    are asked about as method `WEBSOCKET`. A request that can't be decided is refused, with 503 when hallpass can't be
    reached.

    Raises `ValueError` for a client without a realm: the token, which the end client chose, would choose who decides.
    So it does for an application with a `root_path` of its own, whose routers see other paths than come here:
    `app.add_middleware(HallpassMiddleware, …)` puts it behind that.
    """

    def __init__(self, app: App, client: AsyncClient, routes: Mapper) -> None:
        if getattr(app, "root_path", ""):
            raise ValueError("the application has a root_path: expected `app.add_middleware(HallpassMiddleware, …)`")
        self._app = app
        self._client = with_realm(client)
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http" | "websocket" as kind:
                answer = await self._refusal(scope)
                if answer is not None:
                    await (_send if kind == "http" else _close)(answer, send)
                    return
            case "lifespan":
                pass
            case unknown:
                raise ValueError(f"expected http, websocket or lifespan, found `{unknown}`")
        await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Answer | None:
        request_id = ""
        try:
            request = http_request(scope)
            question = self._routes(request)
            if isawaitable(question):
                question = await question
            if isinstance(question, Public):
                return None
            if question is None:
                return answer_of(plain_denial(HTTPStatus.FORBIDDEN, "nobody may use this route"))
            question = completed(question, request)
            request_id = question.request_id
            decision = await self._client.require(question)
        except Refused as refused:
            return refused.answer
        except Denied as denied:
            return answer_of(denied.denial, request_id)
        except CallError as error:
            return answer_of_failure(error, request_id)
        # A namespace of its own: some servers have one for all requests of a connection.
        scope["state"] = {**scope.get("state", {}), "hallpass": decision}
        return None


def with_realm(client: AsyncClient) -> AsyncClient:
    """The client. Raises `ValueError` for one without a realm."""
    if not client.realm:
        raise ValueError("expected a client with a realm")
    return client


def http_request(scope: Scope) -> HttpRequest:
    """The request of an ASGI scope. Raises `Refused` for an ambiguous path, and for what asks to be taken for another
    request."""
    path: str = scope["path"]
    raw_path: bytes | None = scope.get("raw_path")
    query: bytes = scope.get("query_string", b"")
    refuse_ambiguous(path, raw_path, query)
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    host = next((value for name, value in headers if name == "host"), "")
    came = (path.encode() if raw_path is None else raw_path).decode("latin-1")
    if scope["type"] == "http" and scope["method"] == "WEBSOCKET":
        raise Refused(HTTPStatus.BAD_REQUEST, "no method of HTTP")
    request = HttpRequest(
        method="WEBSOCKET" if scope["type"] == "websocket" else scope["method"],
        path=_below(scope.get("root_path", ""), path),
        headers=headers,
        query=parse_qsl(query.decode("latin-1"), keep_blank_values=True),
        url=f"{scope.get('scheme', 'http')}://{host}{came}",
    )
    refuse_rewriting(request)
    return request


def _below(root: str, path: str) -> str:
    """As Starlette's routers take it: without the prefix that the server stands behind, or the application is mounted
    at; empty for the prefix itself."""
    rest = path.removeprefix(root)
    return rest if rest != path and rest[:1] in ("", "/") else path


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _close(answer: Answer, send: Send) -> None:
    # Before it is accepted: the server answers the handshake with 403.
    await send({"type": "websocket.close", "code": 1008, "reason": ""})
