"""The client for threads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from time import sleep
from types import TracebackType
from typing import TypeVar

import grpc

from .channel import TLS, CallerToken, channel_credentials, channel_options
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
from .v1 import authorization_pb2 as pb
from .v1.authorization_pb2_grpc import AuthorizationServiceStub

T = TypeVar("T")
Stub = TypeVar("Stub")

#: How many seconds a page of a search may take, unless said otherwise.
SEARCH_TIMEOUT = 60.0


class Client:
    """Asks hallpass. One client serves a whole process: its calls share a connection, and threads may share it.

    `target` is `host:port` or `unix:path`. Without `tls`, only this machine is talked to; `plaintext=True` lifts that
    for networks which encrypt by themselves. `realm` and `obligations` are those of requests that name none. `timeout`
    bounds a call in seconds with all its retries, of which there are at most `retries`, on `UNAVAILABLE` alone.
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
        credentials = channel_credentials(target, tls, caller_token, plaintext=plaintext)
        self._target = target
        self._realm = realm
        self._timeout = timeout
        self._retry = Retry(retries)
        self._obligations = frozenset(obligations)
        options = channel_options(tls)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options)
        self._stub = AuthorizationServiceStub(self._channel)

    def __repr__(self) -> str:
        return f"Client({self._target!r}, realm={self._realm!r})"

    @property
    def realm(self) -> str:
        """The realm of requests that name none; empty where there is none."""
        return self._realm

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def service(self, stub: Callable[[grpc.Channel], Stub]) -> Stub:
        """A stub of `hallpass_client.v1` over this client's connection, for all that has no method here. Its calls have
        the deadline that you give them, are not retried, and raise `grpc.RpcError`."""
        return stub(self._channel)

    def authorize(self, request: AccessRequest, *, timeout: float | None = None) -> Decision:
        """Decides one question. Raises `CallError` if there is no answer."""
        understood = self._understood(request.obligations)
        message = request.to_wire(self._realm, understood)
        answer = self._call(lambda left: self._stub.Authorize(message, timeout=left), timeout, request)
        return decision_from_wire(answer, understood)

    def require(self, request: AccessRequest, *, timeout: float | None = None) -> Decision:
        """As `authorize`, and raises `Denied` for a deny."""
        return self.authorize(request, timeout=timeout).require()

    def batch(
        self, items: Sequence[AccessRequest], defaults: AccessRequest | None = None, *, timeout: float | None = None
    ) -> list[BatchResult]:
        """Decides up to 10,000 questions, in their order. What an item leaves empty comes from `defaults`."""
        common = defaults or AccessRequest()
        message, understood = batch_to_wire(items, common, self._realm, self._understood(common.obligations))
        answer = self._call(lambda left: self._stub.BatchAuthorize(message, timeout=left), timeout, common, *items)
        return batch_from_wire(answer, understood)

    def pages(self, request: SearchRequest, *, timeout: float = SEARCH_TIMEOUT) -> Iterator[Page]:
        """The pages of a search; after a deny there is one, without resources. `timeout` is that of each page."""
        understood = self._understood(request.obligations)
        page_token = ""
        while True:
            page = self._page(request, understood, timeout, page_token)
            yield page
            page_token = page.next_page_token
            if not page_token:
                return

    def search(self, request: SearchRequest, *, timeout: float = SEARCH_TIMEOUT) -> Iterator[FoundResource]:
        """The resources that the token may act on, page by page. Raises `Denied` if it may not search at all. Declared
        obligations hold for every resource; `pages` has them."""
        for page in self.pages(request, timeout=timeout):
            page.decision.require()
            yield from page.resources

    def row_filter(self, request: SearchRequest, *, timeout: float | None = None) -> Decision:
        """Whether the token may search, with the obligation `row_filter` or `authorize_each`; no resources."""
        understood = self._understood(request.obligations)
        return self._page(request, understood, timeout, filter_only=True).decision

    def token_info(self, token: str | Credentials, *, realm: str = "", timeout: float | None = None) -> TokenInfo:
        """What a token may do."""
        question = AccessRequest(token=token, realm=realm or self._realm)
        message = token_info_to_wire(token, question.realm)
        return token_info_from_wire(
            self._call(lambda left: self._stub.GetTokenInfo(message, timeout=left), timeout, question)
        )

    def _understood(self, obligations: Collection[str] | None) -> frozenset[str]:
        return self._obligations if obligations is None else frozenset(obligations)

    def _page(
        self,
        request: SearchRequest,
        understood: Collection[str],
        timeout: float | None,
        page_token: str = "",
        *,
        filter_only: bool = False,
    ) -> Page:
        message = request.to_wire(self._realm, understood, page_token, filter_only=filter_only)

        # A page is whole or it isn't there: nothing of it was shown yet when its call is tried again.
        def read(left: float) -> Page:
            reader = PageReader(understood)
            for part in self._stub.SearchResources(message, timeout=left):
                reader.take(part)
            return reader.page()

        return self._call(read, timeout, request)

    def _call(self, call: Callable[[float], T], timeout: float | None, *questions: AccessRequest | SearchRequest) -> T:
        tries = Tries(self._retry.of(questions), self._timeout if timeout is None else timeout)
        while True:
            try:
                return call(tries.left())
            except grpc.RpcError as error:
                failure = call_error(error)
            sleep(tries.after(failure))


def batch_to_wire(
    items: Iterable[AccessRequest], common: AccessRequest, realm: str, understood: frozenset[str]
) -> tuple[pb.BatchAuthorizeRequest, list[Collection[str]]]:
    """The message, and what is understood of each item's obligations."""
    each = [(item, understood if item.obligations is None else frozenset(item.obligations)) for item in items]
    message = pb.BatchAuthorizeRequest(
        defaults=common.to_wire(realm, understood),
        items=[item.to_wire("", item.obligations or ()) for item, _ in each],
    )
    return message, [obligations for _, obligations in each]
