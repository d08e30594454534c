// The page that people follow, compiled and run as it stands.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";

import type { Express } from "express";
import type { Client } from "hallpass-client";

import { district, ROOT, type Server } from "./server.js";

const HERE = join(ROOT, "clients/typescript");
const BLOCKS = [...readFileSync(join(HERE, "README.md"), "utf8").matchAll(/^```ts\n(.*?)^```/gms)].map(
  ([, code = ""]) => code,
);

describe("the readme", () => {
  let server: Server;
  let token: string;
  let folder: string;
  before(async () => {
    ({ server, token } = await district());
    // Within the package, whose own name it imports.
    folder = mkdtempSync(join(HERE, "test/build/readme-"));
    writeFileSync(join(folder, "token"), token);
    BLOCKS.forEach((code, place) => {
      writeFileSync(join(folder, `block${place}.ts`), code.replace("127.0.0.1:50051", server.address));
    });
    const config = {
      extends: "../../../tsconfig.json",
      compilerOptions: { rootDir: ".", outDir: "out" },
      include: ["*.ts"],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    execFileSync(join(HERE, "node_modules/.bin/tsc"), ["--project", folder], { stdio: "inherit" });
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await server.remove();
  });

  it("has a start that works", () => {
    const lines = execFileSync(process.execPath, ["out/block0.js"], { cwd: folder, encoding: "utf8" })
      .trim()
      .split("\n");
    assert.equal(lines[0], "ada may be read");
    assert.match(lines[1] ?? "", /^403 \[/);
    assert.deepEqual(
      lines.filter((line) => line.startsWith("found ")),
      ["ada", "bo", "cam", "dev", "eli"].map((name) => `found ${name}`),
    );
  });

  it("guards applications", async () => {
    const url = pathToFileURL(join(folder, "out/block1.js")).href;
    const { app, guarded, hallpass } = (await import(url)) as { app: Express; guarded: Express; hallpass: Client };
    for (const each of [app, guarded]) {
      const listener = each.listen(0, "127.0.0.1");
      await once(listener, "listening");
      const base = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
      const ask = async (path: string, headers: Record<string, string>) =>
        (await fetch(base + path, { headers: { ...headers, connection: "close" } })).status;
      const headers = { authorization: `Bearer ${token}` };
      assert.equal(await ask("/students/ada", headers), 200);
      assert.equal(await ask("/students/fay", headers), 403);
      assert.equal(await ask("/students/ada", {}), 401);
      listener.close();
    }
    hallpass.close();
  });
});
