"""The client for asyncio."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Generator, Sequence
from functools import wraps
from types import TracebackType
from typing import Any, NoReturn, ParamSpec, TypeVar

import grpc

from .channel import TLS, CallerToken, channel_credentials, channel_options
from .client import SEARCH_TIMEOUT, batch_to_wire
from .decision import (
    BatchResult,
    Decision,
    FoundResource,
    Page,
    PageReader,
    TokenInfo,
    batch_from_wire,
    decision_from_wire,
    token_info_from_wire,
)
from .errors import call_error
from .requests import AccessRequest, Credentials, SearchRequest, token_info_to_wire
from .retry import Retry, Tries
from .v1.authorization_pb2_grpc import AuthorizationServiceStub

T = TypeVar("T")
Stub = TypeVar("Stub")
P = ParamSpec("P")


class _Unawaited(Coroutine[Any, Any, T]):
    """An answer to be awaited. Neither true nor false: a forgotten `await` in a condition is no allow."""

    def __init__(self, answer: Coroutine[Any, Any, T]) -> None:
        self._answer = answer

    def __bool__(self) -> NoReturn:
        self._answer.close()
        raise TypeError("an answer is neither true nor false before it is awaited, expected `await`")

    def __await__(self) -> Generator[Any, Any, T]:
        return self._answer.__await__()

    def send(self, value: Any) -> Any:
        return self._answer.send(value)

    def throw(self, *error: Any) -> Any:
        return self._answer.throw(*error)

    def close(self) -> None:
        self._answer.close()


def _to_await(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return _Unawaited(function(*args, **kwargs))

    return call


class AsyncClient:
    """Asks hallpass from coroutines. Parameters and methods are those of `Client`.

    It connects with its first call and belongs to the event loop of that call; it can be made before there is one.
    """

    def __init__(
        self,
        target: str,
        *,
        realm: str = "",
        tls: TLS | bool = False,
        plaintext: bool = False,
        caller_token: CallerToken | None = None,
        timeout: float = 5.0,
        retries: int = 3,
        obligations: Collection[str] = (),
    ) -> None:
        self._credentials = channel_credentials(target, tls, caller_token, plaintext=plaintext)
        self._options = channel_options(tls)
        self._target = target
        self._realm = realm
        self._timeout = timeout
        self._retry = Retry(retries)
        self._obligations = frozenset(obligations)
        self._channel: grpc.aio.Channel | None = None

    def __repr__(self) -> str:
        return f"AsyncClient({self._target!r}, realm={self._realm!r})"

    @property
    def realm(self) -> str:
        """The realm of requests that name none; empty where there is none."""
        return self._realm

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def service(self, stub: Callable[[grpc.aio.Channel], Stub]) -> Stub:
        """A stub of `hallpass_client.v1` over this client's connection, for all that has no method here. Its calls have
        the deadline that you give them, are not retried, and raise `grpc.aio.AioRpcError`."""
        if self._channel is None:
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(self._target, self._options)
            else:
                self._channel = grpc.aio.secure_channel(self._target, self._credentials, self._options)
        return stub(self._channel)

    @_to_await
    async def authorize(self, request: AccessRequest, *, timeout: float | None = None) -> Decision:
        """Decides one question. Raises `CallError` if there is no answer."""
        understood = self._understood(request.obligations)
        message = request.to_wire(self._realm, understood)
        stub = self.service(AuthorizationServiceStub)
        answer = await self._call(lambda left: stub.Authorize(message, timeout=left), timeout, request)
        return decision_from_wire(answer, understood)

    @_to_await
    async def require(self, request: AccessRequest, *, timeout: float | None = None) -> Decision:
        """As `authorize`, and raises `Denied` for a deny."""
        return (await self.authorize(request, timeout=timeout)).require()

    @_to_await
    async def batch(
        self, items: Sequence[AccessRequest], defaults: AccessRequest | None = None, *, timeout: float | None = None
    ) -> list[BatchResult]:
        """Decides up to 10,000 questions, in their order. What an item leaves empty comes from `defaults`."""
        common = defaults or AccessRequest()
        message, understood = batch_to_wire(items, common, self._realm, self._understood(common.obligations))
        stub = self.service(AuthorizationServiceStub)
        answer = await self._call(lambda left: stub.BatchAuthorize(message, timeout=left), timeout, common, *items)
        return batch_from_wire(answer, understood)

    async def pages(self, request: SearchRequest, *, timeout: float = SEARCH_TIMEOUT) -> AsyncIterator[Page]:
        """The pages of a search; after a deny there is one, without resources. `timeout` is that of each page."""
        understood = self._understood(request.obligations)
        page_token = ""
        while True:
            page = await self._page(request, understood, timeout, page_token)
            yield page
            page_token = page.next_page_token
            if not page_token:
                return

    async def search(self, request: SearchRequest, *, timeout: float = SEARCH_TIMEOUT) -> AsyncIterator[FoundResource]:
        """The resources that the token may act on, page by page. Raises `Denied` if it may not search at all. Declared
        obligations hold for every resource; `pages` has them."""
        async for page in self.pages(request, timeout=timeout):
            page.decision.require()
            for resource in page.resources:
                yield resource

    @_to_await
    async def row_filter(self, request: SearchRequest, *, timeout: float | None = None) -> Decision:
        """Whether the token may search, with the obligation `row_filter` or `authorize_each`; no resources."""
        understood = self._understood(request.obligations)
        return (await self._page(request, understood, timeout, filter_only=True)).decision

    async def token_info(self, token: str | Credentials, *, realm: str = "", timeout: float | None = None) -> TokenInfo:
        """What a token may do."""
        question = AccessRequest(token=token, realm=realm or self._realm)
        message = token_info_to_wire(token, question.realm)
        stub = self.service(AuthorizationServiceStub)
        return token_info_from_wire(
            await self._call(lambda left: stub.GetTokenInfo(message, timeout=left), timeout, question)
        )

    def _understood(self, obligations: Collection[str] | None) -> frozenset[str]:
        return self._obligations if obligations is None else frozenset(obligations)

    async def _page(
        self,
        request: SearchRequest,
        understood: Collection[str],
        timeout: float | None,
        page_token: str = "",
        *,
        filter_only: bool = False,
    ) -> Page:
        message = request.to_wire(self._realm, understood, page_token, filter_only=filter_only)
        stub = self.service(AuthorizationServiceStub)

        # A page is whole or it isn't there: nothing of it was shown yet when its call is tried again.
        async def read(left: float) -> Page:
            reader = PageReader(understood)
            async for part in stub.SearchResources(message, timeout=left):
                reader.take(part)
            return reader.page()

        return await self._call(read, timeout, request)

    async def _call(
        self, call: Callable[[float], Awaitable[T]], timeout: float | None, *questions: AccessRequest | SearchRequest
    ) -> T:
        tries = Tries(self._retry.of(questions), self._timeout if timeout is None else timeout)
        while True:
            try:
                return await call(tries.left())
            except grpc.RpcError as error:
                failure = call_error(error)
            await sleep(tries.after(failure))
