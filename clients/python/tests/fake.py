"""A service that answers as a test says: also what the real one never would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from hallpass_client.v1 import authorization_pb2 as pb
from hallpass_client.v1.authorization_pb2_grpc import (
    AuthorizationServiceServicer,
    add_AuthorizationServiceServicer_to_server,
)

ALLOW = pb.AuthorizeResponse(decision=pb.DECISION_ALLOW, outcome=pb.OUTCOME_ALLOWED)

# An answer, or the status of an error.
Said = pb.AuthorizeResponse | pb.BatchAuthorizeResponse | list[pb.SearchResourcesResponse] | grpc.StatusCode


@dataclass
class Fake(AuthorizationServiceServicer):
    """Answers each call with the next of `says`, the last one for ever."""

    says: list[Said]
    metadata: list[dict[str, Any]] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """How many calls came."""
        return len(self.metadata)

    def _next(self, context: Any) -> Any:
        self.metadata.append(dict(context.invocation_metadata()))
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, grpc.StatusCode):
            context.abort(said, "as the test wants it")
        return said

    def Authorize(self, request: pb.AuthorizeRequest, context: Any) -> Any:
        return self._next(context)

    def BatchAuthorize(self, request: pb.BatchAuthorizeRequest, context: Any) -> Any:
        return self._next(context)

    def SearchResources(self, request: pb.SearchResourcesRequest, context: Any) -> Any:
        return iter(self._next(context))

    def GetTokenInfo(self, request: pb.GetTokenInfoRequest, context: Any) -> Any:
        return self._next(context)


@contextmanager
def serving(fake: Fake, bind: Callable[[grpc.Server], int] | None = None) -> Iterator[str]:
    """Serves it on a free port of this machine, and says where."""
    server = grpc.server(ThreadPoolExecutor(4))
    add_AuthorizationServiceServicer_to_server(fake, server)
    port = bind(server) if bind else server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
