"""A real server for the tests: the Ed-Fi realm, an issuer of our own, and the example district."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hallpass_client import Client
from hallpass_client.v1 import relationships_pb2 as relationships
from hallpass_client.v1.relationships_pb2_grpc import RelationshipServiceStub

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("HALLPASS", str(ROOT / "target/debug/hallpass"))
ISSUER = "https://idp.example"


@dataclass
class Server:
    """The program, serving from a folder of its own. `address` stays when it is started again."""

    folder: Path
    address: str = "127.0.0.1:0"
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def token(self, **claims: str) -> str:
        """A token of the issuer that the server trusts."""
        command = [PROGRAM, "token", "issue", "--key", str(self.folder / "issuer.pem"), "--issuer", ISSUER]
        for name, value in claims.items():
            command += ["--claim", f"{name}={value}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        config = self.folder / "hallpass.toml"
        config.write_text(
            f"""
            data_dir = "data"
            grpc_address = "{self.address}"
            [realms.edfi]
            folder = "{ROOT}/policies/edfi"
            [[realms.edfi.issuers]]
            issuer = "{ISSUER}"
            audiences = []
            algorithms = ["EdDSA"]
            keys = {{ file = "issuer.jwks.json" }}
            """
        )
        errors = (self.folder / "log").open("a")
        command = [PROGRAM, "serve", "--config", str(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        errors.close()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), (self.folder / "log").read_text()
        self.address = line.removeprefix("listening on ").strip()

    def stop(self) -> None:
        """Ends it in order."""
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=60)
            self.process = None


def import_district(address: str) -> None:
    """Brings the example district in."""
    requests = [
        relationships.ImportRecordsRequest(
            realm="edfi", resource=path.stem, records=[line for line in path.read_text().splitlines() if line]
        )
        for path in sorted((ROOT / "examples/district").glob("*.ndjson"))
    ]
    with Client(address) as client:
        answer = client.service(RelationshipServiceStub).ImportRecords(iter(requests), timeout=60)
    assert (answer.refused, answer.accepted > 0) == (0, True)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the district in it."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.token()  # makes the key
    server.start()
    try:
        import_district(server.address)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def token(server: Server) -> str:
    """The token of the SIS of school 101, whose new items are stamped."""
    return server.token(
        client_id="maple-sis", scope="SISVendor", educationOrganizationIds="101", creatorOwnershipTokenId="7"
    )


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of the server."""
    with Client(server.address, realm="edfi") as client:
        yield client


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the tests that are coroutines."""
    return "asyncio"
