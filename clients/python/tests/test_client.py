"""What callers get from a real server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Server

from hallpass_client import (
    AccessRequest,
    AsyncClient,
    CallError,
    Client,
    Credentials,
    Denied,
    Entity,
    Outcome,
    Resource,
    SearchRequest,
)
from hallpass_client.v1 import relationships_pb2 as relationships
from hallpass_client.v1.relationships_pb2_grpc import RelationshipServiceStub


def read_student(token: str, student: str) -> AccessRequest:
    resource = Resource("ed-fi/students", student, {"studentUniqueId": student})
    return AccessRequest(token=token, action="Read", resource=resource)


def create_school_year(token: str, obligations: list[str] | None) -> AccessRequest:
    resource = Resource(
        "ed-fi/studentSchoolAssociations",
        proposed={"schoolReference": {"schoolId": 101}, "studentReference": {"studentUniqueId": "ada"}},
    )
    return AccessRequest(token=token, action="Create", resource=resource, obligations=obligations)


def test_an_allow_is_true_and_says_why(client: Client, token: str) -> None:
    decision = client.authorize(read_student(token, "ada"))
    assert decision
    assert decision.outcome is Outcome.ALLOWED
    assert [reason.code for reason in decision.reasons] == ["PERMITTED"]
    assert decision.denial is None
    assert decision.decision_id and decision.policy_version and decision.determining_policies


def test_a_deny_is_false_and_has_the_answer_for_the_end_client(client: Client, token: str) -> None:
    decision = client.authorize(read_student(token, "fay"))
    assert not decision
    assert decision.outcome is Outcome.NOT_PERMITTED
    assert [reason.code for reason in decision.reasons] == ["RELATIONSHIP_MISSING"]
    assert decision.denial is not None and decision.denial.status == 403
    problem = json.loads(decision.denial.body("r-1"))
    assert problem["status"] == 403 and problem["correlationId"] == "r-1"
    assert problem["type"].startswith("urn:ed-fi:api:security:authorization")
    assert problem["errors"] == list(decision.denial.errors) != []


def test_require_raises_what_was_denied(client: Client, token: str) -> None:
    assert client.require(read_student(token, "ada")).allowed
    with pytest.raises(Denied, match=r"^denied: RELATIONSHIP_MISSING$") as caught:
        client.require(read_student(token, "fay"))
    assert not caught.value.decision.allowed


def test_a_bad_token_is_a_deny_and_no_error(client: Client) -> None:
    for credentials, code in (
        ("", "TOKEN_MISSING"),
        ("no.token.this", "TOKEN_FORMAT"),
        (Credentials(token="x", query_token="y"), "TOKEN_AMBIGUOUS"),
    ):
        resource = Resource("ed-fi/students", "ada", {"studentUniqueId": "ada"})
        decision = client.authorize(AccessRequest(token=credentials, action="Read", resource=resource))
        assert not decision
        assert decision.outcome is Outcome.UNAUTHENTICATED
        assert decision.reasons[0].code == code


def test_an_obligation_must_be_declared(server: Server, token: str) -> None:
    with Client(server.address, realm="edfi") as client:
        undeclared = client.authorize(create_school_year(token, None))
        assert not undeclared
        assert [reason.code for reason in undeclared.reasons] == ["OBLIGATION_NOT_SUPPORTED"]
        declared = client.authorize(create_school_year(token, ["stamp_ownership"]))
        assert declared
        (obligation,) = declared.obligations
        assert obligation.id == "stamp_ownership"
        assert obligation.parameters == {"createdByOwnershipTokenId": 7}
    with Client(server.address, realm="edfi", obligations=["stamp_ownership"]) as client:
        assert client.authorize(create_school_year(token, None))
        assert not client.authorize(create_school_year(token, []))


def test_a_batch_is_answered_in_order_and_an_error_allows_nothing(client: Client, token: str) -> None:
    items = [
        AccessRequest(resource=Resource("", "ada", {"studentUniqueId": "ada"})),
        AccessRequest(resource=Resource("", "fay", {"studentUniqueId": "fay"})),
        AccessRequest(action="Fly", resource=Resource("", "ada", {"studentUniqueId": "ada"})),
    ]
    results = client.batch(items, AccessRequest(token=token, action="Read", resource=Resource("ed-fi/students")))
    assert [result.allowed for result in results] == [True, False, False]
    assert [bool(result) for result in results] == [True, False, False]
    assert results[0].require().allowed
    with pytest.raises(Denied):
        results[1].require()
    with pytest.raises(CallError, match="INVALID_ARGUMENT INVALID_REQUEST"):
        results[2].require()


def test_obligations_of_a_batch_are_those_of_each_item(server: Server, token: str) -> None:
    with Client(server.address, realm="edfi", obligations=["stamp_ownership"]) as client:
        items = [create_school_year(token, None), create_school_year(token, [])]
        assert [result.allowed for result in client.batch(items)] == [True, False]
    with Client(server.address, realm="edfi") as client:
        items = [create_school_year(token, None), create_school_year(token, ["stamp_ownership"])]
        assert [result.allowed for result in client.batch(items)] == [False, True]


def test_an_error_names_every_wrong_field(client: Client, token: str) -> None:
    with pytest.raises(CallError) as caught:
        client.authorize(AccessRequest(token=token, action="Fly", resource=Resource("ed-fi/nothing")))
    assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert {violation.field for violation in caught.value.violations} >= {"action", "resource.type"}
    assert not caught.value.is_unreachable
    with pytest.raises(CallError, match=r"^NOT_FOUND REALM_UNKNOWN: "):
        client.token_info(token, realm="nowhere")


def test_a_search_goes_through_all_pages(client: Client, token: str) -> None:
    request = SearchRequest(token=token, action="Read", resource_type="ed-fi/students", page_size=2)
    pages = list(client.pages(request))
    assert len(pages) > 1 and all(len(page.resources) <= 2 for page in pages)
    assert [found.id for found in client.search(request)] == ["ada", "bo", "cam", "dev", "eli"]
    assert [found.id for page in pages for found in page.resources] == ["ada", "bo", "cam", "dev", "eli"]


def test_a_search_among_candidates_says_which(client: Client, token: str) -> None:
    candidates = [Resource("", name, {"studentUniqueId": name}) for name in ("fay", "ada", "kit", "bo")]
    request = SearchRequest(token=token, action="Read", resource_type="ed-fi/students", candidates=candidates)
    (page,) = client.pages(request)
    assert [found.candidate for found in page.resources] == [1, 3]
    assert page.complete
    none = SearchRequest(token=token, action="Read", resource_type="ed-fi/students", candidates=[])
    assert list(client.search(none)) == []
    elsewhere = SearchRequest(
        token=token, action="Read", resource_type="ed-fi/students", within=Entity("EducationOrganization", "102")
    )
    assert list(client.search(elsewhere)) == []


def test_a_refused_search_raises_before_anything_is_found(client: Client) -> None:
    request = SearchRequest(token="no.token.this", action="Read", resource_type="ed-fi/students")
    (page,) = client.pages(request)
    assert (page.decision.allowed, page.resources, page.complete) == (False, (), False)
    with pytest.raises(Denied):
        next(client.search(request))


def test_a_row_filter_comes_without_being_declared(client: Client, token: str) -> None:
    decision = client.row_filter(SearchRequest(token=token, action="Read", resource_type="ed-fi/students"))
    assert decision
    (obligation,) = decision.obligations
    assert obligation.id == "row_filter"
    assert obligation.parameters["decision"] == "conditional"


def test_token_info_says_what_a_token_may_do(client: Client, token: str) -> None:
    info = client.token_info(token)
    assert info.active and info.principal == Entity("Client", "maple-sis")
    assert [reached.entity.id for reached in info.reachable] == ["101"]
    assert "Read" in info.resources["ed-fi/students"]
    assert info.expires_at > time.time()
    bad = client.token_info("no.token.this")
    assert (bad.active, bad.reason, bad.resources) == (False, "TOKEN_FORMAT", {})


def test_a_named_caller_learns_why_to_the_single_condition(server: Server, token: str) -> None:
    question = replace(read_student(token, "fay"), explain="FULL")
    key = (server.folder / "data/admin.token").read_text().strip()
    with Client(server.address, realm="edfi", caller_token=key) as client:
        explanation = client.authorize(question).explanation
        assert explanation is not None and explanation.near_misses
        assert client.authorize(replace(question, explain="NONE")).reasons == ()
    with Client(server.address, realm="edfi") as client, pytest.raises(CallError) as caught:
        client.authorize(question)
    assert (caught.value.code, caught.value.reason) == ("PERMISSION_DENIED", "EXPLAIN_NOT_PERMITTED")


def test_every_other_service_is_there_as_a_stub(client: Client) -> None:
    stub = client.service(RelationshipServiceStub)
    assert stub.GetRevision(relationships.GetRevisionRequest(realm="edfi"), timeout=5).revision > 0


@pytest.mark.anyio
async def test_coroutines_get_the_same_answers(server: Server, token: str) -> None:
    async with AsyncClient(server.address, realm="edfi") as client:
        assert await client.authorize(read_student(token, "ada"))
        assert (await client.require(read_student(token, "bo"))).allowed
        with pytest.raises(Denied):
            await client.require(read_student(token, "fay"))
        results = await client.batch([read_student(token, "ada"), read_student(token, "fay")])
        assert [result.allowed for result in results] == [True, False]
        request = SearchRequest(token=token, action="Read", resource_type="ed-fi/students", page_size=2)
        assert [found.id async for found in client.search(request)] == ["ada", "bo", "cam", "dev", "eli"]
        assert len([page async for page in client.pages(request)]) > 1
        assert (await client.row_filter(request)).obligations[0].id == "row_filter"
        assert (await client.token_info(token)).active
        with pytest.raises(CallError, match="INVALID_ARGUMENT"):
            await client.authorize(AccessRequest(token=token, action="Fly"))
        stub = client.service(RelationshipServiceStub)
        assert (await stub.GetRevision(relationships.GetRevisionRequest(realm="edfi"), timeout=5)).revision > 0


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Server]:
    """A server that may be stopped."""
    server = Server(tmp_path)
    server.token()
    server.start()
    yield server
    server.stop()


def test_a_restart_goes_unnoticed_within_the_deadline(mortal: Server) -> None:
    token = mortal.token(client_id="maple-sis", scope="SISVendor", educationOrganizationIds="101")
    with Client(mortal.address, timeout=60, retries=1000) as client:
        assert client.token_info(token).active
        mortal.stop()
        starting = threading.Thread(target=mortal.start)
        starting.start()
        assert client.token_info(token).active
        starting.join()
        mortal.stop()
    with Client(mortal.address, timeout=0.3) as client, pytest.raises(CallError) as caught:
        client.token_info(token)
    assert caught.value.is_unreachable
