// What is left of an answer that is not as it should be: never an allow.

import assert from "node:assert/strict";
import type { lookup } from "node:dns";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { inspect } from "node:util";

import { Code } from "@connectrpc/connect";
import { CallError, Client, type ClientOptions, Credentials, Denied, required } from "hallpass-client";
import { Decision, Outcome } from "hallpass-client/v1/authorization";
import { generate } from "selfsigned";

import { delayMs } from "#dist/retry";
import { localOnly } from "#dist/transport";

import { ALLOW, fake, type Says } from "./fake.js";

const QUESTION = { token: "the-secret-token", action: "Read", resource: { type: "thing", id: "1" } };
const SEARCH = { token: "the-secret-token", action: "Read", resourceType: "thing" };

const withObligations = (...ids: string[]) => ({ ...ALLOW, obligations: ids.map((id) => ({ id })) });

/** Asks a fake, and takes it away again. */
async function against<T>(
  says: Says,
  ask: (client: Client, keys: (string | null)[]) => Promise<T>,
  options?: ClientOptions,
): Promise<T> {
  const { address, keys, close } = await fake(says);
  const client = new Client(address, options);
  try {
    return await ask(client, keys);
  } finally {
    client.close();
    await close();
  }
}

describe("answers", () => {
  it("an allow with an undeclared obligation is a deny, whoever sent it", async () => {
    await against({ authorize: [withObligations("mask", "stamp")] }, async (client) => {
      const decision = await client.authorize({ ...QUESTION, obligations: ["mask"] });
      assert.ok(!decision.allowed);
      assert.equal(decision.outcome, "INDETERMINATE");
      assert.deepEqual(decision.obligations, []);
      assert.equal(decision.reasons[0]?.code, "OBLIGATION_NOT_SUPPORTED");
      assert.match(decision.reasons[0].message, /: `stamp`$/);
      assert.equal(decision.denial.problem()?.["status"], 403);
      assert.throws(() => required(decision), Denied);
      assert.equal((await client.authorize({ ...QUESTION, obligations: ["mask", "stamp"] })).allowed, true);
    });
  });

  it("an answer that contradicts itself or is not known is a deny", async () => {
    const answers = [
      {},
      { decision: Decision.ALLOW },
      { decision: Decision.ALLOW, outcome: Outcome.FORBIDDEN },
      { decision: Decision.DENY, outcome: Outcome.ALLOWED },
      { decision: Decision.DENY, outcome: 77 as Outcome },
      { decision: 77 as Decision, outcome: Outcome.ALLOWED },
    ];
    for (const answer of answers) {
      const decision = await against({ authorize: [answer] }, (client) => client.authorize(QUESTION));
      assert.equal(decision.allowed, false);
      assert.equal(decision.denial?.status, 403);
    }
  });

  it("a denial is never sent as a success", async () => {
    const answer = { decision: Decision.DENY, denial: { status: 200, title: "Fine" } };
    const decision = await against({ authorize: [answer] }, (client) => client.authorize(QUESTION));
    assert.equal(decision.denial?.status, 403);
  });

  it("a batch with too few results is an error", async () => {
    const batch = [{ results: [{ result: { case: "response" as const, value: ALLOW } }] }, { results: [{}] }];
    await against({ batch }, async (client) => {
      await assert.rejects(client.batch([QUESTION, QUESTION]), /expected 2 results, found 1/);
      const [result] = await client.batch([QUESTION]);
      assert.equal(result?.allowed, false);
      assert.ok(result.error);
    });
  });

  it("a search that broke off shows nothing", async () => {
    const answer = { part: { case: "answer" as const, value: ALLOW } };
    const found = { part: { case: "found" as const, value: { resources: [{ id: "1" }] } } };
    const end = { part: { case: "end" as const, value: { complete: true } } };
    for (const parts of [[answer, found], [found, end], []]) {
      await against({ search: [parts] }, async (client) => {
        await assert.rejects(client.search(SEARCH).next(), /ANSWER_INCOMPLETE/);
      });
    }
    const denied = { part: { case: "answer" as const, value: { decision: Decision.DENY } } };
    const page = await against({ search: [[denied, found, end]] }, (client) => client.pages(SEARCH).next());
    assert.deepEqual([page.value?.decision.allowed, page.value?.resources], [false, []]);
  });
});

describe("retries", () => {
  it("only unavailable is tried again, and only so often", async () => {
    for (const code of Object.values(Code).filter((code) => typeof code === "number")) {
      await against(
        { authorize: [code] },
        async (client, keys) => {
          await assert.rejects(client.authorize(QUESTION), CallError);
          assert.equal(keys.length, code === Code.Unavailable ? 3 : 1, Code[code]);
        },
        { retries: 2 },
      );
    }
  });

  it("what was unavailable is answered later", async () => {
    const says = { authorize: [Code.Unavailable, Code.Unavailable, ALLOW] };
    await against(says, async (client, keys) => {
      assert.equal((await client.authorize(QUESTION)).allowed, true);
      assert.equal(keys.length, 3);
    });
    const whole = [{ part: { case: "answer" as const, value: ALLOW } }, { part: { case: "end" as const, value: {} } }];
    await against({ search: [Code.Unavailable, whole] }, async (client) => {
      assert.equal((await client.rowFilter(SEARCH)).allowed, true);
    });
  });

  it("a proof that counts once is sent once", async () => {
    const token = new Credentials("the-secret-token", "DPoP", { proof: { dpop: ["proof"] } });
    await against(
      { authorize: [Code.Unavailable], batch: [Code.Unavailable], search: [Code.Unavailable] },
      async (client, keys) => {
        for (const ask of [
          () => client.authorize({ ...QUESTION, token }),
          () => client.batch([QUESTION, { ...QUESTION, token }]),
          () => client.batch([QUESTION], { token }),
          () => client.pages({ ...SEARCH, token }).next(),
        ]) {
          const before = keys.length;
          await assert.rejects(ask, /UNAVAILABLE/);
          assert.equal(keys.length, before + 1);
        }
      },
    );
  });

  it("no retry goes beyond the deadline", async () => {
    const options = { timeoutMs: 500, retries: 1_000_000 };
    await against(
      { authorize: [Code.Unavailable] },
      async (client, keys) => {
        const start = performance.now();
        await assert.rejects(client.authorize(QUESTION), (error) => error instanceof CallError && error.isUnreachable);
        assert.ok(performance.now() - start < 5000);
        assert.ok(keys.length > 1 && keys.length < 1000);
      },
      options,
    );
  });

  it("codes have the names of gRPC", async () => {
    for (const [code, name] of [
      [Code.Canceled, "CANCELLED"],
      [Code.DeadlineExceeded, "DEADLINE_EXCEEDED"],
      [Code.FailedPrecondition, "FAILED_PRECONDITION"],
      [Code.DataLoss, "DATA_LOSS"],
    ] as const) {
      await against({ authorize: [code] }, (client) => assert.rejects(client.authorize(QUESTION), { code: name }));
    }
  });

  it("delays grow up to a bound and are drawn", () => {
    for (const [failed, most] of [
      [1, 50],
      [2, 100],
      [3, 200],
      [6, 1000],
      [60, 1000],
    ] as const) {
      const drawn = Array.from({ length: 200 }, () => delayMs(failed));
      assert.ok(drawn.every((delay) => delay >= 0 && delay <= most));
      assert.ok(Math.max(...drawn) > most / 2 && new Set(drawn).size > 100);
    }
  });
});

describe("secrets", () => {
  it("nothing of ours shows a token", async () => {
    const client = new Client("127.0.0.1:1", { callerToken: "the-secret-key", timeoutMs: 200 });
    const error: unknown = await client.authorize(QUESTION).catch((error: unknown) => error);
    assert.ok(error instanceof CallError);
    const proof = { method: "GET", uri: "https://the-secret", dpop: ["the-secret-proof"] };
    const credentials = new Credentials("the-secret-token", "Bearer", { queryToken: "the-secret-token", proof });
    const everything = { depth: Infinity, showHidden: true };
    for (const kept of [client, error, credentials]) {
      assert.doesNotMatch(inspect(kept, everything) + JSON.stringify(kept), /the-secret/);
    }
    assert.equal(error.cause, undefined);
    client.close();
  });

  it("a caller shows its token with each call", async () => {
    const keys = ["key-1", "key-2"];
    const callerToken = () => keys.shift() ?? "none";
    const twice = async (client: Client, shown: (string | null)[]) => {
      await client.authorize(QUESTION);
      await client.authorize(QUESTION);
      return [...shown];
    };
    assert.deepEqual(await against({ authorize: [ALLOW] }, twice, { callerToken }), ["Bearer key-1", "Bearer key-2"]);
    assert.deepEqual(await against({ authorize: [ALLOW] }, twice), [null, null]);
  });

  it("tokens do not travel in the open", () => {
    for (const options of [{ tls: true }, { tls: {} }, { callerToken: "key" }]) {
      assert.throws(
        () => new Client("pdp.example:443", { plaintext: true, ...options }),
        /plaintext goes with neither/,
      );
    }
    assert.throws(() => new Client("pdp.example:443", { tls: { cert: "x" } }), /go together/);
    assert.throws(() => new Client("192.0.2.1:443"), /expected a loopback address/);
    assert.throws(() => new Client("[2001:db8::1]:443"), /expected a loopback address/);
    for (const target of ["https://pdp.example", "pdp.example/path", "user@pdp.example:1", ""]) {
      assert.throws(() => new Client(target, { tls: true }), TypeError, target);
    }
    new Client("[::1]:443").close();
  });

  it("a name of another machine is not resolved", async () => {
    const resolving = (...addresses: string[]) => {
      const answer = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
      const resolve = ((_: string, __: object, callback: (error: null, found: object[]) => void) =>
        callback(null, answer)) as unknown as typeof lookup;
      const options = localOnly("pdp.example", resolve);
      return new Promise((resolved) => {
        options.lookup?.("pdp.example", { all: false }, (error, address) => resolved(error ? error.message : address));
      });
    };
    assert.match(String(await resolving("192.0.2.1", "2001:db8::1")), /this name is not of it/);
    assert.equal(await resolving("192.0.2.1", "127.0.0.1"), "127.0.0.1");
    assert.equal(await resolving("::1"), "::1");
  });
});

describe("tls", () => {
  it("takes the right authority and a certificate of one's own", async () => {
    const folder = mkdtempSync(join(tmpdir(), "hallpass-client-tls-"));
    const authority = await signer("authority");
    const other = await signer("other");
    const server = await authority.sign("localhost");
    const pep = await authority.sign("pep");
    const stranger = await other.sign("pep");
    const { address, keys, close } = await fake(
      { authorize: [ALLOW] },
      { key: server.private, cert: server.cert, ca: authority.cert, requestCert: true, rejectUnauthorized: true },
    );
    const target = address.replace("127.0.0.1", "localhost");
    const ask = async (tls: NonNullable<ClientOptions["tls"]>) => {
      const options = tls === false ? {} : { callerToken: "key" };
      const client = new Client(target, { tls, ...options, timeoutMs: 2000, retries: 0 });
      try {
        return await client.authorize(QUESTION);
      } finally {
        client.close();
      }
    };
    for (const [name, pem] of Object.entries({ ca: authority.cert, cert: pep.cert, key: pep.private })) {
      writeFileSync(join(folder, `${name}.pem`), pem);
    }
    const files = { ca: join(folder, "ca.pem"), cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
    const ca = Buffer.from(authority.cert);
    assert.equal((await ask(files)).allowed, true);
    assert.equal((await ask({ ca, cert: Buffer.from(pep.cert), key: Buffer.from(pep.private) })).allowed, true);
    assert.deepEqual(keys, ["Bearer key", "Bearer key"]);
    for (const tls of [
      { ca },
      { ...files, ca: Buffer.from(other.cert) },
      { ca, cert: Buffer.from(stranger.cert), key: Buffer.from(stranger.private) },
      false,
    ]) {
      await assert.rejects(ask(tls), CallError);
    }
    assert.equal(keys.length, 2);
    await close();
    rmSync(folder, { recursive: true });
  });
});

/** A certificate authority. */
async function signer(name: string) {
  const basic = { keyType: "ec", algorithm: "sha256", notAfterDate: new Date(Date.now() + 3_600_000) } as const;
  const own = await generate([{ name: "commonName", value: name }], {
    ...basic,
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, critical: true },
    ],
  });
  const sign = (subject: string) =>
    generate([{ name: "commonName", value: subject }], {
      ...basic,
      ca: { key: own.private, cert: own.cert },
      extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] }],
    });
  return { cert: own.cert, sign };
}
