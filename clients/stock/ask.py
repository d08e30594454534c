"""Asks a running hallpass a few questions with stock grpcio and checks the answers.

Usage: ask.py ADDRESS TOKEN_FILE ADMIN_TOKEN_FILE DISTRICT_FOLDER, with the stubs of proto/ on the path (see run.sh).
"""

import pathlib
import re
import sys

import grpc
from hallpass.v1 import (
    authorization_pb2 as authorization,
    authorization_pb2_grpc as authorization_grpc,
    decisions_pb2 as decisions,
    decisions_pb2_grpc as decisions_grpc,
    relationships_pb2 as relationships,
    relationships_pb2_grpc as relationships_grpc,
    values_pb2 as values,
)


def records(folder):
    """The import's messages: one for each file of the district."""
    for path in sorted(pathlib.Path(folder).glob("*.ndjson")):
        lines = [line for line in path.read_text().splitlines() if line]
        yield relationships.ImportRecordsRequest(realm="edfi", resource=path.stem, records=lines)


def read_student(token, student):
    """May the holder of the token read this student?"""
    return authorization.AuthorizeRequest(
        token=token,
        action="Read",
        resource=authorization.Resource(
            type="ed-fi/students",
            id=student,
            attributes={"studentUniqueId": values.Value(string_value=student)},
        ),
        request_id="python-client",
    )


def expect(what, found, wanted):
    """Says what was found, and ends the run when it isn't what was wanted."""
    print(f"{what}: {found}")
    if found != wanted:
        sys.exit(f"expected {wanted}")


def main(address, token_file, admin_token_file, district):
    """Imports, asks, reads the log, provokes an error."""
    token = pathlib.Path(token_file).read_text().strip()
    admin = pathlib.Path(admin_token_file).read_text().strip()
    with grpc.insecure_channel(address) as channel:
        imported = relationships_grpc.RelationshipServiceStub(channel).ImportRecords(records(district), timeout=30)
        expect("records refused", imported.refused, 0)

        service = authorization_grpc.AuthorizationServiceStub(channel)
        allowed = service.Authorize(read_student(token, "ada"), timeout=5)
        expect("ada", authorization.Outcome.Name(allowed.outcome), "OUTCOME_ALLOWED")
        denied = service.Authorize(read_student(token, "fay"), timeout=5)
        expect("fay", authorization.Outcome.Name(denied.outcome), "OUTCOME_NOT_PERMITTED")
        expect("why", [reason.code for reason in denied.reasons], ["RELATIONSHIP_MISSING"])
        print("   ", denied.denial.errors[0])

        batch = service.BatchAuthorize(
            authorization.BatchAuthorizeRequest(items=[read_student(token, name) for name in ("ada", "fay", "bo")]),
            timeout=5,
        )
        answers = [result.response.decision == authorization.DECISION_ALLOW for result in batch.results]
        expect("ada, fay, bo", answers, [True, False, True])

        info = service.GetTokenInfo(authorization.GetTokenInfoRequest(token=token), timeout=5)
        expect("organizations", [entry.entity.id for entry in info.reachable], ["101"])

        log = decisions_grpc.DecisionLogServiceStub(channel)
        about_ada = log.QueryDecisions(
            decisions.QueryDecisionsRequest(
                realm="edfi", person=values.EntityReference(type="Student", id="ada")
            ),
            metadata=[("authorization", "Bearer " + admin)],
            timeout=5,
        )
        expect("decisions about ada", len(about_ada.decisions), 2)
        # As a word: her name is made of hexadecimal digits, which pseudonyms and digests are made of, too.
        expect("her id is in the log", re.search(r"\bada\b", str(about_ada)) is not None, False)

        try:
            service.Authorize(authorization.AuthorizeRequest(realm="edfi", token=token, action="Fly"), timeout=5)
            sys.exit("expected an error")
        except grpc.RpcError as error:
            expect("a bad request", error.code().name, "INVALID_ARGUMENT")
            print("   ", error.details())
    print("all answers are as expected")


if __name__ == "__main__":
    main(*sys.argv[1:])
