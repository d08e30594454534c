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
    """

    def __init__(self, app: App, client: AsyncClient, routes: Mapper) -> None:
        self._app = app
        self._client = client
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            answer = await self._refusal(scope)
            if answer is not None:
                await (_send if scope["type"] == "http" else _close)(answer, send)
                return
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
        scope.setdefault("state", {})["hallpass"] = decision
        return None


def http_request(scope: Scope) -> HttpRequest:
    """The request of an ASGI scope. Raises `Refused` for an ambiguous path."""
    path: str = scope["path"]
    refuse_ambiguous(scope.get("raw_path") or path.encode())
    # Escapes are gone from `path`: what they hid would have to be found in it now.
    if "//" in path or "\\" in path or "\0" in path:
        raise Refused(HTTPStatus.BAD_REQUEST, "the path is ambiguous")
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    host = next((value for name, value in headers if name == "host"), "")
    raw_path = (scope.get("raw_path") or path.encode()).decode("latin-1")
    root = scope.get("root_path", "").rstrip("/")
    return HttpRequest(
        method="WEBSOCKET" if scope["type"] == "websocket" else scope["method"],
        # As the frameworks' routers take it: without the prefix that the server stands behind.
        path=path.removeprefix(root) if root and path.startswith(root + "/") else path,
        headers=headers,
        query=parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True),
        url=f"{scope.get('scheme', 'http')}://{host}{raw_path}",
    )


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _close(answer: Answer, send: Send) -> None:
    # Before it is accepted: the server answers the handshake with 403.
    await send({"type": "websocket.close", "code": 1008, "reason": ""})
