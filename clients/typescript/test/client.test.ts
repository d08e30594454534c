// What callers get from a real server.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import {
  type AccessRequest,
  CallError,
  Client,
  Credentials,
  Denied,
  Entity,
  type FoundResource,
  type Page,
  type SearchRequest,
} from "hallpass-client";
import { RelationshipService } from "hallpass-client/v1/relationships";

import { district, enrolAda, readStudent, Server } from "./server.js";

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) {
    found.push(item);
  }
  return found;
}

const ids = (found: readonly FoundResource[]) => found.map((each) => each.id);

describe("a client of a real server", () => {
  let server: Server;
  let token: string;
  let client: Client;
  before(async () => {
    ({ server, token } = await district());
    client = new Client(server.address, { realm: "edfi" });
  });
  after(async () => {
    client.close();
    await server.remove();
  });

  it("an allow says why", async () => {
    const decision = await client.authorize(readStudent(token, "ada"));
    assert.equal(decision.allowed, true);
    assert.equal(decision.outcome, "ALLOWED");
    assert.deepEqual(
      decision.reasons.map((reason) => reason.code),
      ["PERMITTED"],
    );
    assert.equal(decision.denial, undefined);
    assert.ok(decision.decisionId && decision.policyVersion && decision.determiningPolicies.length > 0);
    assert.ok(decision.dataRevision > 0n);
  });

  it("a deny has the answer for the end client", async () => {
    const decision = await client.authorize(readStudent(token, "fay"));
    assert.ok(!decision.allowed);
    assert.equal(decision.outcome, "NOT_PERMITTED");
    assert.equal(decision.denial.status, 403);
    const problem = JSON.parse(decision.denial.body("r-1")) as Record<string, unknown>;
    assert.equal(problem["status"], 403);
    assert.equal(problem["correlationId"], "r-1");
    assert.match(String(problem["type"]), /^urn:ed-fi:api:security:authorization/);
    assert.deepEqual(problem["errors"], decision.denial.errors);
    assert.ok(decision.denial.errors.length > 0);
  });

  it("require throws what was denied", async () => {
    assert.equal((await client.require(readStudent(token, "ada"))).allowed, true);
    await assert.rejects(client.require(readStudent(token, "fay")), (error: unknown) => {
      assert.ok(error instanceof Denied);
      assert.equal(error.message, "denied: RELATIONSHIP_MISSING");
      assert.equal(error.denial.status, 403);
      return true;
    });
  });

  it("a bad token is a deny and no error", async () => {
    const resource = { type: "ed-fi/students", id: "ada", attributes: { studentUniqueId: "ada" } };
    for (const [bad, code] of [
      ["", "TOKEN_MISSING"],
      ["no.token.this", "TOKEN_FORMAT"],
      [new Credentials("x", "", { queryToken: "y" }), "TOKEN_AMBIGUOUS"],
    ] as const) {
      const decision = await client.authorize({ token: bad, action: "Read", resource });
      assert.equal(decision.allowed, false);
      assert.equal(decision.outcome, "UNAUTHENTICATED");
      assert.equal(decision.reasons[0]?.code, code);
    }
  });

  it("an obligation must be declared", async () => {
    const undeclared = await client.authorize(enrolAda(token));
    assert.equal(undeclared.allowed, false);
    assert.equal(undeclared.reasons[0]?.code, "OBLIGATION_NOT_SUPPORTED");
    const declared = await client.authorize(enrolAda(token, ["stamp_ownership"]));
    assert.deepEqual(declared.obligations, [{ id: "stamp_ownership", parameters: { createdByOwnershipTokenId: 7 } }]);
    const other = new Client(server.address, { realm: "edfi", obligations: ["stamp_ownership"] });
    assert.equal((await other.authorize(enrolAda(token))).allowed, true);
    assert.equal((await other.authorize(enrolAda(token, []))).allowed, false);
    const batch = await other.batch([enrolAda(token), enrolAda(token, [])]);
    assert.deepEqual(
      batch.map((result) => result.allowed),
      [true, false],
    );
    other.close();
  });

  it("a batch is answered in order, and an error allows nothing", async () => {
    const item = (id: string, more: AccessRequest = {}) => ({
      ...more,
      resource: { id, attributes: { studentUniqueId: id } },
    });
    const defaults = { token, action: "Read", resource: { type: "ed-fi/students" } };
    const results = await client.batch([item("ada"), item("fay"), item("ada", { action: "Fly" })], defaults);
    assert.deepEqual(
      results.map((result) => result.allowed),
      [true, false, false],
    );
    assert.equal(results[1]?.decision?.reasons[0]?.code, "RELATIONSHIP_MISSING");
    assert.equal(results[2]?.decision, undefined);
    assert.equal(results[2]?.error?.code, "INVALID_ARGUMENT");
    assert.equal(results[2]?.error?.reason, "INVALID_REQUEST");
  });

  it("an error names every wrong field", async () => {
    const wrong = { token, action: "Fly", resource: { type: "ed-fi/nothing" } };
    await assert.rejects(client.authorize(wrong), (error: unknown) => {
      assert.ok(error instanceof CallError);
      assert.deepEqual([error.code, error.reason, error.isUnreachable], ["INVALID_ARGUMENT", "INVALID_REQUEST", false]);
      const fields = error.violations.map((violation) => violation.field);
      assert.ok(fields.includes("action") && fields.includes("resource.type"), String(fields));
      return true;
    });
    await assert.rejects(client.tokenInfo(token, { realm: "nowhere" }), /^CallError: NOT_FOUND REALM_UNKNOWN: /);
  });

  it("a search goes through all pages", async () => {
    const request: SearchRequest = { token, action: "Read", resourceType: "ed-fi/students", pageSize: 2 };
    const pages: Page[] = await all(client.pages(request));
    assert.ok(pages.length > 1 && pages.every((page) => page.resources.length <= 2));
    assert.deepEqual(ids(await all(client.search(request))), ["ada", "bo", "cam", "dev", "eli"]);
    assert.deepEqual(ids(pages.flatMap((page) => page.resources)), ["ada", "bo", "cam", "dev", "eli"]);
  });

  it("a search among candidates says which", async () => {
    const request: SearchRequest = { token, action: "Read", resourceType: "ed-fi/students" };
    const candidates = ["fay", "ada", "kit", "bo"].map((id) => ({ id, attributes: { studentUniqueId: id } }));
    const [page] = await all(client.pages({ ...request, candidates }));
    assert.deepEqual(
      page?.resources.map((each) => each.candidate),
      [1, 3],
    );
    assert.equal(page?.complete, true);
    assert.deepEqual(await all(client.search({ ...request, candidates: [] })), []);
    assert.deepEqual(await all(client.search({ ...request, within: new Entity("EducationOrganization", "102") })), []);
  });

  it("a refused search throws before anything is found", async () => {
    const request: SearchRequest = { token: "no.token.this", action: "Read", resourceType: "ed-fi/students" };
    const [page] = await all(client.pages(request));
    assert.deepEqual([page?.decision.allowed, page?.resources, page?.complete], [false, [], false]);
    await assert.rejects(all(client.search(request)), Denied);
  });

  it("a row filter comes without being declared", async () => {
    const decision = await client.rowFilter({ token, action: "Read", resourceType: "ed-fi/students" });
    assert.equal(decision.obligations[0]?.id, "row_filter");
    assert.equal(decision.obligations[0]?.parameters["decision"], "conditional");
  });

  it("token info says what a token may do", async () => {
    const info = await client.tokenInfo(token);
    assert.ok(info.active);
    assert.deepEqual(info.principal, new Entity("Client", "maple-sis"));
    assert.deepEqual(
      info.reachable.map((reached) => reached.entity.id),
      ["101"],
    );
    assert.ok(info.resources.get("ed-fi/students")?.includes("Read"));
    assert.ok(info.expiresAt > new Date());
    assert.deepEqual(await client.tokenInfo("no.token.this"), { active: false, reason: "TOKEN_FORMAT" });
  });

  it("a named caller learns why, to the single condition", async () => {
    const question = { ...readStudent(token, "fay"), explain: "FULL" } as const;
    const callerToken = readFileSync(join(server.folder, "data/admin.token"), "utf8").trim();
    const caller = new Client(server.address, { realm: "edfi", callerToken });
    const { explanation } = await caller.authorize(question);
    assert.ok(explanation && explanation.nearMisses.length > 0);
    assert.deepEqual((await caller.authorize({ ...question, explain: "NONE" })).reasons, []);
    caller.close();
    await assert.rejects(client.authorize(question), { code: "PERMISSION_DENIED", reason: "EXPLAIN_NOT_PERMITTED" });
  });

  it("every other service is there, too", async () => {
    const { revision } = await client.service(RelationshipService).getRevision({ realm: "edfi" }, { timeoutMs: 5000 });
    assert.ok(revision > 0n);
  });
});

describe("a server that goes away", () => {
  const server = new Server();
  after(() => server.remove());

  it("comes back unnoticed within the deadline", async () => {
    const token = server.token({ client_id: "maple-sis", scope: "SISVendor", educationOrganizationIds: "101" });
    await server.start();
    const client = new Client(server.address, { timeoutMs: 60_000, retries: 1000 });
    assert.equal((await client.tokenInfo(token)).active, true);
    await server.stop();
    const [info] = await Promise.all([client.tokenInfo(token), server.start()]);
    assert.equal(info.active, true);
    await server.stop();
    await assert.rejects(client.tokenInfo(token, { timeoutMs: 300 }), (error: unknown) => {
      assert.ok(error instanceof CallError);
      assert.equal(error.isUnreachable, true);
      return true;
    });
    client.close();
  });
});
