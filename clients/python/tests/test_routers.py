"""The table of routes and the routers of FastAPI and Starlette, asked the same: what runs is what was decided about."""

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from conftest import ROOT
from fastapi import FastAPI, Request, Response
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from hallpass_client import AccessRequest, AsyncClient
from hallpass_client.asgi import App, HallpassMiddleware
from hallpass_client.path import is_ambiguous
from hallpass_client.web import PUBLIC, HttpRequest, Public, Routes

pytestmark = pytest.mark.anyio

PATHS: dict[str, Any] = json.loads((ROOT / "clients/paths.json").read_text())


def scope_of(method: str, target: str, *, raw: bool = True, root: str = "") -> dict[str, Any]:
    """As the server of a request makes it."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": unquote(path, encoding="utf-8", errors="replace"),
        "raw_path": path.encode("latin-1") if raw else None,
        "query_string": query.encode("latin-1"),
        "root_path": root,
        "headers": [],
    }


@pytest.mark.parametrize("target", PATHS["ambiguous"] + ["/a\0", "/" + "a" * 8192])
async def test_a_path_that_servers_read_in_more_than_one_way_is_ambiguous(target: str) -> None:
    scope = scope_of("GET", target)
    assert is_ambiguous(scope["path"], scope["raw_path"], scope["query_string"])


async def test_a_path_is_taken_apart_in_one_way() -> None:
    for target, segments in PATHS["read"].items():
        for raw in (True, False):
            scope = scope_of("GET", target, raw=raw)
            assert not is_ambiguous(scope["path"], scope["raw_path"], scope["query_string"]), target
            assert scope["path"][1:].split("/") == segments
    assert not is_ambiguous("/" + "a" * 8190, None, b"")
    for path in ("/\udcff", "/a\ufffd"):
        assert is_ambiguous(path, None, b"")


def combined() -> Iterator[str]:
    """Every path of these segments, of one to as many as there are places."""
    for places in PATHS["segments"]:
        for length in range(1, len(places) + 1):
            for segments in itertools.product(*places[:length]):
                yield "".join(f"/{segment}" for segment in segments)


def endpoint(route: str, ran: list[str]) -> Any:
    async def run(request: Request) -> Response:
        ran.append(route)
        return Response()

    return run


def of_fastapi(ran: list[str]) -> FastAPI:
    app = FastAPI(openapi_url=None)
    for route in PATHS["routes"]:
        method, path = route.split()
        app.add_api_route(path, endpoint(route, ran), methods=[method])
    return app


def of_starlette(ran: list[str]) -> Starlette:
    routes = [route.split() for route in PATHS["routes"]]
    return Starlette(routes=[Route(path, endpoint(f"{verb} {path}", ran), methods=[verb]) for verb, path in routes])


class Noted:
    """A table that lets everything pass, and knows what was asked."""

    def __init__(self) -> None:
        self.taken: str | None = None
        self._routes = Routes({route: self._target(route) for route in PATHS["routes"]})

    @staticmethod
    def _target(route: str) -> Any:
        return lambda segments: AccessRequest(action=route)

    def __call__(self, request: HttpRequest) -> Public | None:
        found = self._routes(request)
        self.taken = found.action if isinstance(found, AccessRequest) else None
        return None if found is None else PUBLIC


async def run(app: App, scope: dict[str, Any]) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        pass

    await app(scope, receive, send)


@pytest.mark.parametrize(
    ("make", "root"), list(itertools.product((of_fastapi, of_starlette), ("", "/below", "/below/", "/files")))
)
@pytest.mark.parametrize("raw", [True, False], ids=["raw path", "decoded path"])
async def test_what_runs_is_what_was_decided_about(make: Any, root: str, raw: bool) -> None:
    ran: list[str] = []
    table = Noted()
    app = HallpassMiddleware(make(ran), AsyncClient("127.0.0.1:1", realm="edfi"), table)
    if root == "":
        for asked, route in PATHS["reached"].items():
            ran.clear()
            await run(app, scope_of(*asked.split(), raw=raw))
            assert ran == [route], asked
    for path in combined():
        for method, prefix in {("GET", ""), ("HEAD", ""), ("GET", root)}:
            ran.clear()
            table.taken = None
            await run(app, scope_of(method, prefix + path, raw=raw, root=root))
            assert ran in ([], [table.taken]), f"{method} {prefix}{path} below `{root}`"


async def test_an_application_that_is_mounted_has_its_own_paths() -> None:
    ran: list[str] = []
    table = Noted()
    below = HallpassMiddleware(of_starlette(ran), AsyncClient("127.0.0.1:1", realm="edfi"), table)
    app = Starlette(routes=[Mount("/below", below)])
    await run(app, scope_of("GET", "/below/files/secret"))
    assert ran == [table.taken] == ["GET /files/secret"]
    ran.clear()
    for path in combined():
        table.taken = None
        await run(app, scope_of("GET", "/below" + path))
        assert ran in ([], [table.taken]), path
        ran.clear()


async def test_a_prefix_of_the_application_itself_is_seen_from_within_alone() -> None:
    client = AsyncClient("127.0.0.1:1", realm="edfi")
    app = FastAPI()
    app.root_path = "/api"
    with pytest.raises(ValueError, match="root_path"):
        HallpassMiddleware(app, client, Noted())
    ran: list[str] = []
    table = Noted()
    app.add_middleware(HallpassMiddleware, client=client, routes=table)
    app.add_api_route("/files/secret", endpoint("GET /files/secret", ran), methods=["GET"])
    for path in ("/files/secret", "/api/files/secret"):
        await run(app, scope_of("GET", path))
    assert ran == ["GET /files/secret"] * 2
    table.taken = None
    await run(app, scope_of("GET", "/api"))
    assert table.taken is None
