// A real server for the tests: the Ed-Fi realm, an issuer of our own, and the example district.

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

import { type AccessRequest, Client } from "hallpass-client";
import { RelationshipService } from "hallpass-client/v1/relationships";

export const ROOT = resolve(import.meta.dirname, "../../../..");
const PROGRAM = process.env["HALLPASS"] ?? join(ROOT, "target/debug/hallpass");
const ISSUER = "https://idp.example";

/** The program, serving from a folder of its own. `address` stays when it is started again. */
export class Server {
  readonly folder = mkdtempSync(join(tmpdir(), "hallpass-client-"));
  address = "127.0.0.1:0";
  #process: ChildProcess | undefined;

  /** A token of the issuer that the server trusts. */
  token(claims: Record<string, string> = {}): string {
    const given = Object.entries(claims).flatMap(([name, value]) => ["--claim", `${name}=${value}`]);
    const key = join(this.folder, "issuer.pem");
    const command = ["token", "issue", "--key", key, "--issuer", ISSUER, ...given];
    return execFileSync(PROGRAM, command, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  }

  /** Starts it, and waits until it listens. */
  async start(): Promise<void> {
    const config = join(this.folder, "hallpass.toml");
    writeFileSync(
      config,
      `
      data_dir = "data"
      grpc_address = "${this.address}"
      [realms.edfi]
      folder = "${ROOT}/policies/edfi"
      [[realms.edfi.issuers]]
      issuer = "${ISSUER}"
      audiences = []
      algorithms = ["EdDSA"]
      keys = { file = "issuer.jwks.json" }
      `,
    );
    const log = join(this.folder, "log");
    const child = spawn(PROGRAM, ["serve", "--config", config], { stdio: ["ignore", "pipe", openSync(log, "a")] });
    this.#process = child;
    assert.ok(child.stdout);
    const [line] = (await Promise.race([once(createInterface(child.stdout), "line"), once(child, "exit")])) as [
      unknown,
    ];
    assert.match(String(line), /^listening on /, readFileSync(log, "utf8"));
    this.address = String(line).replace("listening on ", "");
  }

  /** Ends it in order. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child && child.exitCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
    this.#process = undefined;
  }

  /** Ends it, and takes its folder away. */
  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A server with the district in it, and the token of the SIS of school 101, whose new items are stamped. */
export async function district(): Promise<{ server: Server; token: string }> {
  const server = new Server();
  server.token(); // makes the key
  try {
    await server.start();
    await importDistrict(server.address);
  } catch (error) {
    await server.remove();
    throw error;
  }
  const claims = { client_id: "maple-sis", scope: "SISVendor", educationOrganizationIds: "101" };
  return { server, token: server.token({ ...claims, creatorOwnershipTokenId: "7" }) };
}

async function importDistrict(address: string): Promise<void> {
  const folder = join(ROOT, "examples/district");
  const files = readdirSync(folder).filter((name) => name.endsWith(".ndjson"));
  const client = new Client(address);
  async function* records() {
    for (const name of files.sort()) {
      const lines = readFileSync(join(folder, name), "utf8").split("\n");
      yield { realm: "edfi", resource: name.replace(".ndjson", ""), records: lines.filter((line) => line !== "") };
    }
  }
  const answer = await client.service(RelationshipService).importRecords(records(), { timeoutMs: 60_000 });
  client.close();
  assert.equal(answer.refused, 0n);
  assert.ok(answer.accepted > 0n);
}

/** May the holder of the token read this student? */
export function readStudent(token: string, student: string): AccessRequest {
  return {
    token,
    action: "Read",
    resource: { type: "ed-fi/students", id: student, attributes: { studentUniqueId: student } },
  };
}

/** May the holder of the token enrol ada? Allowed with the obligation to stamp the new item. */
export function enrolAda(token: string, obligations?: readonly string[]): AccessRequest {
  return {
    token,
    action: "Create",
    resource: {
      type: "ed-fi/studentSchoolAssociations",
      proposed: { schoolReference: { schoolId: 101 }, studentReference: { studentUniqueId: "ada" } },
    },
    ...(obligations ? { obligations } : {}),
  };
}
