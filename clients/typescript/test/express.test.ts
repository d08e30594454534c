// The middleware in front of applications, with a real server behind.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, request as send, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { inspect } from "node:util";

import express, { type Express, type NextFunction, type Request, type Response } from "express";
import { CallError, Client, Credentials } from "hallpass-client";
import { decisionOf, guard, type HttpRequest, PUBLIC, requires, routes } from "hallpass-client/express";
import { Decision, Outcome } from "hallpass-client/v1/authorization";

import { answerOfFailure, completed, credentialsOf, pathOf } from "#dist/web";

import { ALLOW, fake } from "./fake.js";
import { district, enrolAda, type Server } from "./server.js";

const TABLE = routes({
  "GET /health": PUBLIC,
  "GET /students/{key}": {
    action: "Read",
    type: "ed-fi/students",
    id: "{key}",
    attributes: { studentUniqueId: "{key}" },
  },
  "POST /enrolments/{key}": (segments) => {
    const { action, resource } = enrolAda("");
    assert.equal(segments.get("key"), "ada");
    return { action: action ?? "", resource: resource ?? {}, obligations: ["stamp_ownership"] };
  },
});

interface Got {
  status: number;
  headers: Record<string, unknown>;
  body: string;
}

/** Asks the application as raw as a client can: the path and each header go out as they are. */
async function ask(
  app: RequestListener,
  method: string,
  path: string,
  headers: [string, string][] = [],
  body = "",
): Promise<Got> {
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const { port } = server.address() as AddressInfo;
    const sent: string[] = headers.flat();
    const type = body ? ["Content-Type", "application/json", "Content-Length", String(Buffer.byteLength(body))] : [];
    const request = send({
      port,
      host: "127.0.0.1",
      method,
      path,
      agent: false,
      headers: ["Host", "api.example", ...type, ...sent],
    });
    request.end(body);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
    }
    return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() };
  } finally {
    server.close();
  }
}

const bearer = (token: string): [string, string] => ["Authorization", `Bearer ${token}`];
const problem = (got: Got) => JSON.parse(got.body) as Record<string, unknown>;

/** Shows that it was reached, and what it was told. */
function behind(...middleware: express.RequestHandler[]): Express {
  const app = express();
  app.use(...middleware);
  app.use((request: Request, response: Response) => {
    response.json({
      path: request.path,
      obligations: decisionOf(response)?.obligations.map((each) => each.id) ?? null,
    });
  });
  return answeringErrors(app);
}

function answeringErrors(app: Express): Express {
  app.use((_error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    response.status(500).end("a bug");
  });
  return app;
}

/** A client of the API whose tokens are bound to its key (RFC 9449). */
class Holder {
  readonly #keys = generateKeyPairSync("ed25519");
  readonly #jwk = this.#keys.publicKey.export({ format: "jwk" });

  get thumbprint(): string {
    const { crv, kty, x } = this.#jwk;
    return createHash("sha256").update(JSON.stringify({ crv, kty, x })).digest("base64url");
  }

  proof(token: string, method: string, uri: string): string {
    const ath = createHash("sha256").update(token).digest("base64url");
    const claims = { jti: randomUUID(), htm: method, htu: uri, iat: Math.floor(Date.now() / 1000), ath };
    const header = { typ: "dpop+jwt", alg: "EdDSA", jwk: this.#jwk };
    const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    return `${signed}.${sign(null, Buffer.from(signed), this.#keys.privateKey).toString("base64url")}`;
  }
}

const quiet = { onFailure: () => undefined };

describe("a guarded application", () => {
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

  it("is reached by what is allowed or public", async () => {
    const app = behind(guard(client, TABLE));
    for (const [method, path, obligations] of [
      ["GET", "/students/ada", []],
      ["POST", "/enrolments/ada", ["stamp_ownership"]],
      ["GET", "/health", null],
    ] as const) {
      const got = await ask(app, method, path, [bearer(token)]);
      assert.deepEqual([got.status, problem(got)], [200, { path, obligations }]);
    }
    assert.equal((await ask(app, "GET", "/health")).status, 200);
    assert.equal((await ask(app, "HEAD", "/students/ada", [bearer(token)])).status, 200);
  });

  it("answers a deny as the realm does", async () => {
    const app = behind(guard(client, TABLE));
    const got = await ask(app, "GET", "/students/fay", [bearer(token), ["X-Request-Id", "r-7"]]);
    assert.equal(got.status, 403);
    assert.equal(got.headers["content-type"], "application/problem+json");
    assert.equal(got.headers["cache-control"], "no-store");
    assert.equal(problem(got)["correlationId"], "r-7");
    assert.match(String(problem(got)["type"]), /^urn:ed-fi:api:security:authorization/);
    assert.equal((await ask(app, "HEAD", "/students/fay", [bearer(token)])).status, 403);
  });

  it("lets nobody in without one good token", async () => {
    const app = behind(guard(client, TABLE));
    for (const authorization of [undefined, "Bearer no.token.this", "Basic YTpi", "Bearer", ""]) {
      const headers: [string, string][] = authorization === undefined ? [] : [["Authorization", authorization]];
      assert.equal((await ask(app, "GET", "/students/ada", headers)).status, 401, authorization);
    }
    assert.equal((await ask(app, "GET", `/students/ada?access_token=${token}`, [bearer(token)])).status, 400);
    assert.equal((await ask(app, "GET", "/students/ada", [bearer(token), bearer(token)])).status, 400);
    const joined: [string, string] = ["Authorization", `Bearer ${token}, Bearer ${token}`];
    assert.equal((await ask(app, "GET", "/students/ada", [joined])).status, 400);
    assert.equal((await ask(app, "GET", "/students/ada?access_token=a&access_token=b")).status, 400);
  });

  it("refuses what has no rule", async () => {
    const app = behind(guard(client, TABLE));
    for (const route of [
      "DELETE /students/ada",
      "OPTIONS /students/ada",
      "GET /students/ada/",
      "GET /Students/ada",
      "GET /%73tudents/ada",
      "GET /",
    ]) {
      const [method = "", path = ""] = route.split(" ");
      const got = await ask(app, method, path, [bearer(token)]);
      assert.deepEqual([got.status, problem(got)["detail"]], [403, "nobody may use this route"], route);
    }
  });

  it("refuses a path that can be read differently", async () => {
    const app = behind(guard(client, TABLE));
    for (const path of [
      "/students//ada",
      "/students/../health",
      "/students/a%2Fb",
      "/students/ada%0a",
      "/students/ada#x",
      "/students/ada?x#y",
      "/students/%",
      "http://api.example/students/ada",
      "*",
    ]) {
      const got = await ask(app, "GET", path, [bearer(token)]);
      assert.deepEqual([got.status, problem(got)["detail"]], [400, "the path is ambiguous"], path);
    }
  });

  it("refuses what asks to be taken for another request", async () => {
    const app = behind(guard(client, TABLE));
    const refused = async (path: string, header: [string, string]) => {
      const got = await ask(app, "GET", path, [bearer(token), header]);
      assert.deepEqual([got.status, problem(got)["detail"]], [400, "a method or path in place of the request's own"]);
    };
    for (const name of ["X-HTTP-Method-Override", "X_HTTP_Method_Override", "X-HTTP-Method", "X-Method-Override"]) {
      await refused("/students/ada", [name, "DELETE"]);
    }
    for (const name of ["X-Original-URL", "x-rewrite-url"]) {
      await refused("/students/ada", [name, "/students/fay"]);
    }
    await refused("/students/ada?_method=DELETE", ["Accept", "*/*"]);
  });

  it("keeps the method that was asked about", async () => {
    const later = (request: Request, _: Response, next: NextFunction) => {
      request.method = "DELETE";
      next();
    };
    const app = behind(guard(client, TABLE), later);
    const got = await ask(app, "GET", "/students/ada", [bearer(token)]);
    assert.deepEqual([got.status, got.body], [500, "a bug"]);
  });

  it("sees the whole path where it is mounted below one", async () => {
    const app = express();
    app.use("/students", guard(client, TABLE));
    app.use((_: Request, response: Response) => response.json("reached"));
    assert.equal((await ask(app, "GET", "/students/ada", [bearer(token)])).status, 200);
    assert.equal((await ask(app, "GET", "/students/fay", [bearer(token)])).status, 403);
    assert.equal((await ask(app, "GET", "/STUDENTS/ada", [bearer(token)])).status, 403);
    const seen: string[] = [];
    const nested = express();
    const note = guard(client, ({ path }) => {
      seen.push(path);
      return PUBLIC;
    });
    nested.use("/students", express().use(note), (_: Request, response: Response) => response.json("reached"));
    for (const path of ["/students", "/students/", "/students/ada?x=/", "/students?x"]) {
      assert.equal((await ask(nested, "GET", path)).status, 200);
    }
    assert.deepEqual(seen, ["/students", "/students/", "/students/ada", "/students"]);
  });

  it("sees the path that Express goes on with", async () => {
    const rewriting = (request: Request, _: Response, next: NextFunction) => {
      request.url = request.url.replace("/v1/", "/");
      next();
    };
    const app = behind(rewriting, guard(client, TABLE));
    assert.equal((await ask(app, "GET", "/v1/students/ada", [bearer(token)])).status, 200);
    assert.equal((await ask(app, "GET", "/v1/students/fay", [bearer(token)])).status, 403);
    const broken = behind(
      (request, _, next) => {
        request.url = "/students/../health";
        next();
      },
      guard(client, TABLE),
    );
    assert.equal((await ask(broken, "GET", "/health")).status, 400);
  });

  it("answers who asks for another protocol as anybody", async () => {
    const app = behind(guard(client, TABLE));
    const upgrade: [string, string][] = [
      ["Connection", "Upgrade"],
      ["Upgrade", "websocket"],
    ];
    assert.equal((await ask(app, "GET", "/students/fay", [bearer(token), ...upgrade])).status, 403);
    const waiting: [string, string] = ["Expect", "100-continue"];
    assert.equal((await ask(app, "POST", "/enrolments/ada", [waiting], "{}")).status, 401);
  });

  it("allows nothing by a question that hallpass refuses", async () => {
    const failures: CallError[] = [];
    const wrong = routes({ "GET /students/{key}": { action: "Fly", type: "ed-fi/students" } });
    const app = behind(guard(client, wrong, { onFailure: (error) => failures.push(error) }));
    const got = await ask(app, "GET", "/students/ada", [bearer(token)]);
    assert.deepEqual([got.status, problem(got)["detail"]], [500, "access cannot be decided"]);
    assert.deepEqual(
      failures.map((failure) => failure.reason),
      ["INVALID_REQUEST"],
    );
    const good = behind(guard(client, TABLE, quiet));
    assert.equal((await ask(good, "GET", "/students/ada", [bearer(token), ["Accept", "x".repeat(2000)]])).status, 400);
    const broken = behind(
      guard(client, () => {
        throw new Error("a bug");
      }),
    );
    assert.equal((await ask(broken, "GET", "/students/ada", [bearer(token)])).status, 500);
  });

  it("allows nothing by what is thrown in place of an error", async () => {
    for (const thrown of [undefined, null, false, 0, "", "route", "router", "text", {}]) {
      for (const failing of [
        guard(client, () => Promise.reject(thrown as Error)),
        requires(client, "Read", () => Promise.reject(thrown as Error)),
      ]) {
        const got = await ask(behind(failing), "GET", "/students/ada", [bearer(token)]);
        assert.deepEqual([got.status, got.body], [500, "a bug"], String(thrown));
      }
    }
    for (const nothing of [undefined, null, false, "", true, {}, () => PUBLIC]) {
      const app = behind(guard(client, () => nothing as undefined, quiet));
      const { status } = await ask(app, "GET", "/students/ada", [bearer(token)]);
      assert.ok(status === 403 || status === 500, `${String(nothing)}: ${status}`);
    }
  });

  it("refuses two media types", async () => {
    const types: [string, string][] = [
      ["Content-Type", "application/json"],
      ["Content-Type", "text/plain"],
    ];
    const app = behind(guard(client, TABLE));
    assert.equal((await ask(app, "POST", "/enrolments/ada", [bearer(token), ...types])).status, 400);
  });

  it("shows no token where a request is logged", async () => {
    const shown: string[] = [];
    const app = behind(
      guard(client, (request) => {
        shown.push(inspect(request, { showHidden: true, depth: 9 }), JSON.stringify(request), String(request));
        return undefined;
      }),
    );
    await ask(app, "GET", `/students/ada?access_token=${token}`, [bearer(token)]);
    assert.equal(shown.length, 3);
    for (const text of shown) {
      assert.ok(!text.includes(token) && !text.includes("ada"), text);
    }
  });

  it("may ask by a function of its own, also an asynchronous one", async () => {
    const asked: HttpRequest[] = [];
    const app = behind(
      guard(client, async (request) => {
        asked.push(request);
        await Promise.resolve();
        return {
          action: "Read",
          resource: { type: "ed-fi/students", id: "ada", attributes: { studentUniqueId: "ada" } },
        };
      }),
    );
    assert.equal((await ask(app, "GET", "/K%C3%A4the/%C2%B7?a=1", [bearer(token)])).status, 200);
    assert.deepEqual(asked[0]?.segments, ["Käthe", "·"]);
    assert.equal(asked[0]?.url, "http://api.example/K%C3%A4the/%C2%B7");
  });

  it("takes a bound token with a proof for this very request", async () => {
    const holder = new Holder();
    const claims = { client_id: "maple-sis", scope: "SISVendor", educationOrganizationIds: "101" };
    const bound = server.token({ ...claims, "cnf:": JSON.stringify({ jkt: holder.thumbprint }) });
    const app = behind(guard(client, TABLE));
    const get = async (path: string, ...proofs: string[]) => {
      const dpop = proofs.map((proof): [string, string] => ["DPoP", proof]);
      return (await ask(app, "GET", path, [["Authorization", `DPoP ${bound}`], ...dpop])).status;
    };
    const good = () => holder.proof(bound, "GET", "http://api.example/students/ada");
    const proof = good();
    assert.equal(await get("/students/ada?x=1", proof), 200);
    const other = holder.proof(bound, "GET", "http://api.example/students/bo");
    const stranger = new Holder().proof(bound, "GET", "http://api.example/students/ada");
    for (const wrong of [proof, other, stranger, "no.proof.this"]) {
      assert.equal(await get("/students/ada", wrong), 401);
    }
    assert.equal(await get("/students/ada"), 401);
    assert.equal(await get("/students/ada", good(), good()), 401);
    assert.equal((await ask(app, "GET", "/students/ada", [bearer(bound)])).status, 401);
    // All of a search comes in one call: a second one would take a second proof.
    const uri = "http://api.example/students";
    const once = { method: "GET", uri, dpop: [holder.proof(bound, "GET", uri)] };
    const token = new Credentials(bound, "DPoP", { proof: once });
    const found: string[] = [];
    for await (const { id } of client.search({ token, action: "Read", resourceType: "ed-fi/students" })) {
      found.push(id);
    }
    assert.deepEqual(found, ["ada", "bo", "cam", "dev", "eli"]);
  });

  it("may guard single routes, with their parameters and bodies", async () => {
    const app = express();
    const student = (request: Request) => {
      const id = String(request.params["key"]);
      return { type: "ed-fi/students", id, attributes: { studentUniqueId: id } };
    };
    app.get("/students/:key", requires(client, "Read", student), (_, response) => {
      response.json(decisionOf(response)?.decisionId);
    });
    const enrolment = (request: Request) => ({ type: "ed-fi/studentSchoolAssociations", proposed: request.body as {} });
    const creates = requires(client, "Create", enrolment, { obligations: ["stamp_ownership"] });
    app.post("/enrolments", express.json(), creates, (_, response) => {
      response.json(decisionOf(response)?.obligations.map((each) => each.parameters));
    });
    answeringErrors(app);
    assert.equal((await ask(app, "GET", "/students/ada", [bearer(token)])).status, 200);
    assert.equal((await ask(app, "GET", "/students/fay", [bearer(token)])).status, 403);
    assert.equal((await ask(app, "GET", "/students/ada")).status, 401);
    const body = JSON.stringify(enrolAda("").resource?.proposed);
    const got = await ask(app, "POST", "/enrolments", [bearer(token)], body);
    assert.deepEqual([got.status, JSON.parse(got.body)], [200, [{ createdByOwnershipTokenId: 7 }]]);
  });
});

describe("a guard without answers", () => {
  it("lets nobody through when hallpass can't be reached", async () => {
    const nobody = new Client("127.0.0.1:1", { realm: "edfi", timeoutMs: 300 });
    const app = behind(guard(nobody, TABLE, quiet));
    const got = await ask(app, "GET", "/students/ada", [bearer("x")]);
    assert.deepEqual([got.status, got.headers["retry-after"]], [503, "1"]);
    assert.doesNotMatch(got.body, /127\.0\.0\.1/);
    assert.equal((await ask(app, "GET", "/health")).status, 200);
    nobody.close();
  });

  it("takes no client without a realm", async () => {
    const nobody = new Client("127.0.0.1:1");
    for (const make of [
      () => guard(nobody, TABLE),
      () => requires(nobody, "Read", () => ({ type: "ed-fi/students" })),
    ]) {
      assert.throws(make, /expected a client with a realm/);
    }
    nobody.close();
    const { address, realms, close } = await fake({ authorize: [ALLOW] });
    const client = new Client(address, { realm: "edfi" });
    const question = (realm: string) => guard(client, () => ({ action: "Read", realm }));
    for (const realm of ["", "other"]) {
      assert.equal((await ask(behind(question(realm)), "GET", "/")).status, 200);
    }
    assert.deepEqual(realms, ["edfi", "other"]);
    client.close();
    await close();
  });

  it("denies what carries an obligation that the route does not fulfil", async () => {
    const { address, close } = await fake({ authorize: [{ ...ALLOW, obligations: [{ id: "mask" }] }] });
    const client = new Client(address, { realm: "edfi" });
    const got = await ask(behind(guard(client, TABLE)), "GET", "/students/ada");
    assert.deepEqual([got.status, problem(got)["title"]], [403, "Forbidden"]);
    client.close();
    await close();
  });

  it("passes on the headers of the realm, and no body where it wants none", async () => {
    const denial = { status: 401, headers: { "WWW-Authenticate": 'JWT realm="x"' } };
    const answer = { decision: Decision.DENY, outcome: Outcome.UNAUTHENTICATED, denial };
    const { address, close } = await fake({ authorize: [answer] });
    const client = new Client(address, { realm: "edfi" });
    const got = await ask(behind(guard(client, TABLE)), "GET", "/students/ada");
    assert.deepEqual([got.status, got.body, got.headers["content-type"]], [401, "", undefined]);
    assert.equal(got.headers["www-authenticate"], 'JWT realm="x"');
    client.close();
    await close();
  });

  it("names nothing of ours in its words", () => {
    const violations = [{ field: "action", description: "unknown `x`" }];
    for (const error of [
      new CallError("NOT_FOUND", "unknown realm `x`"),
      new CallError("INVALID_ARGUMENT", "x", "X", violations),
    ]) {
      const answer = answerOfFailure(error);
      assert.equal(answer.status, 500);
      assert.doesNotMatch(answer.body, /x`/);
    }
  });
});

describe("routes", () => {
  const http = (method: string, path: string): HttpRequest => ({
    method,
    path: pathOf(path).raw,
    segments: pathOf(path).segments,
    rawHeaders: [],
    query: new URLSearchParams(),
    url: "",
  });

  it("the first that fits counts", () => {
    const find = routes({
      "GET /a/{x}": { action: "Read", type: "one", id: "{x}" },
      "GET /a/b": PUBLIC,
      "GET /{x}/{y}": { action: "Read", type: "two" },
      "GET /": PUBLIC,
    });
    assert.deepEqual(find(http("GET", "/a/b")), { action: "Read", resource: { type: "one", id: "b" } });
    assert.deepEqual(find(http("HEAD", "/b/b")), { action: "Read", resource: { type: "two", id: "" } });
    assert.equal(find(http("GET", "/a/")), undefined);
    assert.equal(find(http("GET", "/")), PUBLIC);
    assert.equal(find(http("POST", "/a/b")), undefined);
    for (const wrong of [
      ...["get /a", "GET a", "/a", "GET /a//b", "GET /a/../b", "GET /a%2fb", "GET /ä", "GET /a?b", "GET /a#b"],
      ...["GET /:a", "GET /a*", "GET /{a}.{b}", "GET /a{b}", "GET /{a:int}", "GET /{a}/{a}", "GET /{}", "GET /a(b)"],
    ]) {
      assert.throws(() => routes({ [wrong]: PUBLIC }), /expected a route like/);
    }
  });

  it("what fits another route but for letters and slashes is refused", () => {
    const rule = { action: "Read", type: "one", id: "{x}" };
    const find = routes({
      "GET /a/{x}": rule,
      "GET /A/{x}/": rule,
      "GET /b/{x}/": { ...rule },
      "GET /b/{x}": rule,
      "GET /c/{x}": rule,
      "GET /c/Me": PUBLIC,
      "GET /sch%C3%BCler": PUBLIC,
      "GET /h/{x}": rule,
      "HEAD /h/x": PUBLIC,
    });
    for (const path of ["/a/1", "/A/1/", "/c/you", "/c/Me"]) {
      assert.deepEqual(find(http("GET", path)), { action: "Read", resource: { type: "one", id: path.split("/")[2] } });
    }
    for (const path of ["/A/1", "/a/1/", "/b/1", "/b/1/", "/c/me", "/c/M%65", "/c/Me/", "/sch%c3%bcler"]) {
      assert.equal(find(http("GET", path)), undefined, path);
    }
    assert.equal(find(http("GET", "/sch%C3%BCler")), PUBLIC);
    // Express runs the first of the two, FastAPI the second.
    assert.equal(find(http("HEAD", "/h/x")), undefined);
    assert.notEqual(find(http("HEAD", "/h/y")), undefined);
  });

  it("a rule has no name that its route does not have", () => {
    const one = { action: "Read", type: "one" };
    for (const rule of [
      { ...one, id: "{y}" },
      { ...one, attributes: { a: "{x}{y}" } },
    ]) {
      assert.throws(() => routes({ "GET /a/{x}": rule }), /the path has no segment `y`/);
    }
  });

  it("what a request says of itself goes along", () => {
    const rawHeaders = ["Accept", "a/b", "accept", "c/d", "Content-Type", "e/f", "X-Request-Id", "r 1"];
    const read = completed({ action: "Read" }, { ...http("GET", "/x"), rawHeaders });
    assert.deepEqual([read.mediaType, read.requestId], ["a/b, c/d", ""]);
    const write = completed({ action: "Create", requestId: "mine" }, { ...http("POST", "/x"), rawHeaders });
    assert.deepEqual([write.mediaType, write.requestId], ["e/f", "mine"]);
  });

  it("a proof of possession goes along", () => {
    const rawHeaders = ["Authorization", "DPoP abc", "DPoP", "p1", "dpop", "p2"];
    const request = { ...http("POST", "/x"), rawHeaders, url: "https://api.example/x" };
    assert.deepEqual(credentialsOf(request).toWire(), {
      token: "abc",
      tokenScheme: "DPoP",
      queryToken: "",
      proof: { method: "POST", uri: "https://api.example/x", dpop: ["p1", "p2"] },
    });
  });
});
