"""A dependency for FastAPI: a route says what it asks, and gets the decision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from inspect import isawaitable

from fastapi import FastAPI, Request, Response

from .aio import AsyncClient
from .asgi import http_request, with_realm
from .decision import Decision
from .errors import CallError, Denied
from .requests import AccessRequest, Resource
from .web import Answer, Refused, answer_of, answer_of_failure, completed

#: What is asked about: the resource, or the whole question where there is more to say.
About = Resource | AccessRequest
#: Where a scope holds the id of the request that was asked about.
_REQUEST_ID = "hallpass.request_id"


class Guard:
    """Makes dependencies: `Depends(guard.requires("Read", lambda request: Resource(…)))`.

    `install` once, so that refused requests get the realm's answer; without it they are refused with a bare 500.
    Raises `ValueError` for a client without a realm: the token, which the end client chose, would choose who decides.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = with_realm(client)

    def install(self, app: FastAPI) -> None:
        """Lets the application answer what the dependencies refuse."""
        app.add_exception_handler(Denied, _answer)
        app.add_exception_handler(CallError, _answer)
        app.add_exception_handler(Refused, _answer)

    def requires(
        self,
        action: str,
        about: Callable[[Request], About | Awaitable[About]],
        *,
        obligations: Collection[str] | None = None,
    ) -> Callable[[Request], Awaitable[Decision]]:
        """A dependency that is the decision, an allow. `about` says what the request is about; it may be a coroutine
        function that reads the body or the stored item. `obligations` names those that the route fulfils."""

        async def decide(request: Request) -> Decision:
            asked = http_request(request.scope)
            found = about(request)
            if isawaitable(found):
                found = await found
            if isinstance(found, Resource):
                found = AccessRequest(action=action, resource=found, obligations=obligations)
            question = completed(found, asked)
            request.scope[_REQUEST_ID] = question.request_id
            return await self._client.require(question)

        return decide


async def _answer(request: Request, error: Exception) -> Response:
    return _response(_refusal(error, request.scope.get(_REQUEST_ID, "")))


def _refusal(error: Exception, request_id: str) -> Answer:
    match error:
        case Denied():
            return answer_of(error.denial, request_id)
        case CallError():
            return answer_of_failure(error, request_id)
        case Refused():
            return error.answer
    raise error


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))
