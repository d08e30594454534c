"""What is left of an answer that is not as it should be: never an allow."""

from __future__ import annotations

import datetime
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake import ALLOW, Fake, serving

from hallpass_client import (
    TLS,
    AccessRequest,
    AsyncClient,
    CallError,
    Client,
    Credentials,
    Outcome,
    Resource,
    SearchRequest,
    TokenProof,
)
from hallpass_client.retry import Retry
from hallpass_client.v1 import authorization_pb2 as pb

QUESTION = AccessRequest(token="the-secret-token", action="Read", resource=Resource("thing", "1"))
SEARCH = SearchRequest(token="the-secret-token", action="Read", resource_type="thing")


def with_obligations(*names: str) -> pb.AuthorizeResponse:
    answer = pb.AuthorizeResponse()
    answer.CopyFrom(ALLOW)
    answer.obligations.extend(pb.Obligation(id=name) for name in names)
    return answer


def test_an_allow_with_an_undeclared_obligation_is_a_deny_whoever_sent_it() -> None:
    with serving(Fake([with_obligations("mask", "stamp")])) as address, Client(address) as client:
        decision = client.authorize(replace(QUESTION, obligations=["mask"]))
        assert not decision
        assert decision.outcome is Outcome.INDETERMINATE
        assert [reason.code for reason in decision.reasons] == ["OBLIGATION_NOT_SUPPORTED"]
        assert "`stamp`" in decision.reasons[0].message and "`mask`" not in decision.reasons[0].message
        assert decision.obligations == ()
        assert decision.denial is not None and decision.denial.problem()["status"] == 403
        assert client.authorize(replace(QUESTION, obligations=["mask", "stamp"]))


@pytest.mark.parametrize(
    "answer",
    [
        pb.AuthorizeResponse(),
        pb.AuthorizeResponse(decision=pb.DECISION_ALLOW),
        pb.AuthorizeResponse(decision=pb.DECISION_ALLOW, outcome=pb.OUTCOME_FORBIDDEN),
        pb.AuthorizeResponse(decision=pb.DECISION_DENY, outcome=pb.OUTCOME_ALLOWED),
        pb.AuthorizeResponse(decision=pb.DECISION_DENY, outcome=77),  # type: ignore[arg-type]
        pb.AuthorizeResponse(decision=77, outcome=pb.OUTCOME_ALLOWED),  # type: ignore[arg-type]
    ],
)
def test_an_answer_that_contradicts_itself_or_is_not_known_is_a_deny(answer: pb.AuthorizeResponse) -> None:
    with serving(Fake([answer])) as address, Client(address) as client:
        decision = client.authorize(QUESTION)
        assert not decision
        assert decision.denial is not None and decision.denial.status == 403


def test_a_denial_is_never_sent_as_a_success() -> None:
    answer = pb.AuthorizeResponse(decision=pb.DECISION_DENY, denial=pb.Denial(status=200, title="Fine"))
    with serving(Fake([answer])) as address, Client(address) as client:
        denial = client.authorize(QUESTION).denial
        assert denial is not None and denial.status == 403


def test_a_batch_with_too_few_results_is_an_error() -> None:
    short = pb.BatchAuthorizeResponse(results=[pb.BatchAuthorizeResult(response=ALLOW)])
    empty = pb.BatchAuthorizeResponse(results=[pb.BatchAuthorizeResult()])
    with serving(Fake([short, empty])) as address, Client(address) as client:
        with pytest.raises(CallError, match="expected 2 results, found 1"):
            client.batch([QUESTION, QUESTION])
        (result,) = client.batch([QUESTION])
        assert not result and result.error is not None


def test_a_search_that_broke_off_shows_nothing() -> None:
    answer = pb.SearchResourcesResponse(answer=ALLOW)
    found = pb.SearchResourcesResponse(found=pb.FoundResources(resources=[pb.FoundResource(id="1")]))
    end = pb.SearchResourcesResponse(end=pb.SearchEnd(complete=True))
    for parts in ([answer, found], [found, end], []):
        incomplete = pytest.raises(CallError, match="ANSWER_INCOMPLETE")
        with serving(Fake([parts])) as address, Client(address) as client, incomplete:
            next(client.search(SEARCH))
    denied = pb.SearchResourcesResponse(answer=pb.AuthorizeResponse(decision=pb.DECISION_DENY))
    with serving(Fake([[denied, found, end]])) as address, Client(address) as client:
        (page,) = client.pages(SEARCH)
        assert (page.decision.allowed, page.resources) == (False, ())


def test_only_unavailable_is_tried_again_and_only_so_often() -> None:
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        fake = Fake([code])
        with serving(fake) as address, Client(address, retries=2) as client, pytest.raises(CallError) as caught:
            client.authorize(QUESTION)
        assert caught.value.code == code.name
        assert fake.calls == (3 if code is grpc.StatusCode.UNAVAILABLE else 1), code


def test_what_was_unavailable_is_answered_later() -> None:
    unavailable = grpc.StatusCode.UNAVAILABLE
    fake = Fake([unavailable, unavailable, ALLOW])
    with serving(fake) as address, Client(address) as client:
        assert client.authorize(QUESTION)
    assert fake.calls == 3
    end = pb.SearchResourcesResponse(end=pb.SearchEnd(complete=True))
    fake = Fake([unavailable, [pb.SearchResourcesResponse(answer=ALLOW), end]])
    with serving(fake) as address, Client(address) as client:
        assert [page.complete for page in client.pages(SEARCH)] == [True]


@pytest.mark.anyio
async def test_coroutines_retry_and_deny_the_same() -> None:
    fake = Fake([grpc.StatusCode.UNAVAILABLE, ALLOW, with_obligations("mask")])
    with serving(fake) as address:
        async with AsyncClient(address) as client:
            assert await client.authorize(QUESTION)
            assert not await client.authorize(QUESTION)
    fake = Fake([grpc.StatusCode.INTERNAL])
    with serving(fake) as address:
        async with AsyncClient(address) as client:
            with pytest.raises(CallError, match="INTERNAL"):
                await client.authorize(QUESTION)
    assert fake.calls == 1


def test_a_proof_that_counts_once_is_sent_once() -> None:
    token = Credentials(token="the-secret-token", scheme="DPoP", proof=TokenProof(dpop=["proof"]))
    fake = Fake([grpc.StatusCode.UNAVAILABLE])
    with serving(fake) as address, Client(address) as client:
        for ask in (
            lambda: client.authorize(replace(QUESTION, token=token)),
            lambda: client.batch([QUESTION, replace(QUESTION, token=token)]),
            lambda: client.batch([QUESTION], AccessRequest(token=token)),
            lambda: next(client.pages(replace(SEARCH, token=token))),
            lambda: client.token_info(token),
        ):
            before = fake.calls
            with pytest.raises(CallError, match="UNAVAILABLE"):
                ask()
            assert fake.calls == before + 1


def test_no_retry_goes_beyond_the_deadline() -> None:
    fake = Fake([grpc.StatusCode.UNAVAILABLE])
    start = time.monotonic()
    with serving(fake) as address, Client(address, timeout=0.5, retries=10**6) as client:
        with pytest.raises(CallError) as caught:
            client.authorize(QUESTION)
        took = time.monotonic() - start
    assert caught.value.is_unreachable
    assert 1 < fake.calls < 1000
    assert took < 5


def test_delays_grow_up_to_a_bound_and_are_drawn() -> None:
    retry = Retry(first=0.1, longest=1.0)
    for failed, most in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (50, 1.0)):
        drawn = [retry.delay(failed) for _ in range(200)]
        assert all(0 <= delay <= most for delay in drawn)
        assert max(drawn) > most / 2 and len(set(drawn)) > 100


def test_nothing_that_is_kept_shows_a_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = Client("127.0.0.1:1", caller_token="the-secret-key", timeout=0.2)
    with client, pytest.raises(CallError) as caught:
        client.authorize(QUESTION)
    shown = [repr(client), repr(QUESTION), repr(SEARCH), repr(caught.value), str(caught.value), caplog.text]
    shown.append(repr(AsyncClient("127.0.0.1:1", caller_token="the-secret-key")))
    shown.append(repr(TLS(key=b"the-secret-key")))
    assert "the-secret" not in "".join(shown)
    assert caught.value.__cause__ is None


def test_a_caller_shows_its_token_with_each_call() -> None:
    keys = iter(["key-1", "key-2"])
    fake = Fake([ALLOW])
    with serving(fake) as address:
        with Client(address, caller_token=lambda: next(keys)) as client:
            client.authorize(QUESTION)
            client.authorize(QUESTION)
        with Client(address) as client:
            client.authorize(QUESTION)
    shown = [metadata.get("authorization") for metadata in fake.metadata]
    assert shown == ["Bearer key-1", "Bearer key-2", None]


@pytest.mark.parametrize("settings", [{"tls": True}, {"tls": TLS()}, {"caller_token": "key"}])
def test_tokens_do_not_travel_in_the_open(settings: dict[str, Any]) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match="plaintext goes with neither"):
            kind("pdp.example:443", plaintext=True, **settings)
    with pytest.raises(ValueError, match="a certificate and its key go together"):
        Client("pdp.example:443", tls=TLS(cert=b"x"))


def test_a_socket_of_this_machine_will_do(tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/pdp"
    with serving(Fake([ALLOW]), lambda server: server.add_insecure_port(target)), Client(target) as client:
        assert client.authorize(QUESTION)


@pytest.mark.anyio
async def test_a_proxy_of_the_environment_sees_no_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(Fake([ALLOW])) as address:
        for plaintext in (False, True):
            with Client(address, timeout=1, plaintext=plaintext) as client:
                assert client.authorize(QUESTION)
            async with AsyncClient(address, timeout=1, plaintext=plaintext) as client:
                assert await client.authorize(QUESTION)


@dataclass
class Authority:
    """A certificate authority, and files of what it signed."""

    folder: Path

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        self._write("ca", self._build(self._name, self._key, is_authority=True), self._key)
        self.issue("localhost")
        self.issue("pep")

    def issue(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._write(name, self._build(subject, key, is_authority=False), key)

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        hour = datetime.timedelta(hours=1)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - hour).not_valid_after(now + hour)
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        pem = serialization.Encoding.PEM
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        (self.folder / f"{name}.key").write_bytes(key.private_bytes(pem, form, plain))

    def bind(self, server: grpc.Server) -> int:
        """A port that takes callers with a certificate of this authority alone."""
        key, certificate = (self.folder / "localhost.key").read_bytes(), (self.folder / "localhost.pem").read_bytes()
        ca = (self.folder / "ca.pem").read_bytes()
        credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
        return server.add_secure_port("127.0.0.1:0", credentials)


@pytest.mark.anyio
async def test_tls_takes_the_right_authority_and_a_certificate_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path), Authority(tmp_path / "other")
    fake = Fake([ALLOW])
    with serving(fake, authority.bind) as address:
        target = address.replace("127.0.0.1", "localhost")
        ca, cert, key = (authority.folder / name for name in ("ca.pem", "pep.pem", "pep.key"))
        with Client(target, tls=TLS(ca=ca, cert=cert, key=key.read_bytes()), caller_token="key") as client:
            assert client.authorize(QUESTION)
        async with AsyncClient(target, tls=TLS(ca=ca, cert=cert, key=key), caller_token="key") as client:
            assert await client.authorize(QUESTION)
        assert [metadata["authorization"] for metadata in fake.metadata] == ["Bearer key"] * 2
        strangers: list[TLS | bool] = [
            TLS(ca=ca),
            TLS(ca=other.folder / "ca.pem", cert=cert, key=key),
            TLS(ca=ca, cert=other.folder / "pep.pem", key=other.folder / "pep.key"),
            False,
        ]
        for stranger in strangers:
            with Client(target, tls=stranger, timeout=1, retries=0) as client, pytest.raises(CallError):
                client.authorize(QUESTION)
    assert fake.calls == 2
