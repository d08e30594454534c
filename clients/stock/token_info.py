"""Asks a running hallpass about a token with the stock Ed-Fi client, as any Ed-Fi vendor would, and checks the answers.

Usage: token_info.py GRPC_ADDRESS HTTP_URL, after ask.py has brought the example district in; with the stubs of proto/
and edfi-api-client on the path (see run.sh).
"""

import sys

import grpc
import requests
from ask import expect
from edfi_api_client import EdFiClient
from hallpass.v1 import (
    applications_pb2 as applications,
    applications_pb2_grpc as applications_grpc,
    values_pb2 as values,
)

KEY, SECRET = "lakes-sis", "a secret of the example"


def texts(*items):
    """A set of texts as an attribute."""
    return values.Value(list_value=values.ListValue(values=[values.Value(string_value=item) for item in items]))


def register(address):
    """What an administrator does once: the client's key, secret, claim set and organizations."""
    application = applications.Application(
        id=KEY,
        attributes={
            "claimSet": values.Value(string_value="SISVendor"),
            "educationOrganizations": texts("5"),
            "namespacePrefixes": texts("uri://ed-fi.org"),
        },
    )
    with grpc.insecure_channel(address) as channel:
        applications_grpc.ApplicationServiceStub(channel).PutApplication(
            applications.PutApplicationRequest(realm="edfi", application=application, secret=SECRET), timeout=30
        )


def main(address, url):
    """Registers a client, and lets the stock library do the rest: the base URL, the token, the question."""
    register(address)
    for base in (url, f"{url}/edfi"):
        info = EdFiClient(base, KEY, SECRET).get_token_info()
        expect("client", info["client_id"], KEY)
        expect("claim set", info["claim_set"], {"name": "SISVendor"})
        organizations = {entry["education_organization_id"]: entry for entry in info["education_organizations"]}
        expect("organizations of the service center", sorted(organizations), [5, 10, 11, 20, 101, 102, 201])
        expect(
            "a school",
            organizations[101],
            {
                "education_organization_id": 101,
                "name_of_institution": "Maple Ridge Elementary School",
                "type": "edfi.School",
                "school_id": 101,
                "local_education_agency_id": 10,
                "education_service_center_id": 5,
                "state_education_agency_id": 1,
            },
        )
        students = {entry["resource"]: entry["operations"] for entry in info["resources"]}["/ed-fi/students"]
        expect("students", students, ["Create", "Delete", "Read", "Update"])
    try:
        EdFiClient(url, KEY, "another secret than that").get_token_info()
        sys.exit("expected an error")
    except requests.HTTPError as error:
        expect("a wrong secret", error.response.status_code, 401)
    print("the stock Ed-Fi client understands all answers")


if __name__ == "__main__":
    main(*sys.argv[1:])
