// The table of routes and the routers of Express, asked the same: what runs is what was decided about.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, type IncomingMessage, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";

import express5, { type Request, type Response } from "express";
import express4 from "express4";
import { Client } from "hallpass-client";
import { guard, PUBLIC, routes } from "hallpass-client/express";

import { readPath } from "#dist/path";

import { ROOT } from "./server.js";

const PATHS = JSON.parse(readFileSync(join(ROOT, "clients/paths.json"), "utf8")) as {
  read: Record<string, string[]>;
  ambiguous: string[];
  routes: string[];
  segments: string[][][];
  reached: Record<string, string>;
};

/** Every path of these segments, of one to as many as there are places. */
function combined([first = [], ...rest]: readonly (readonly string[])[]): string[] {
  const below = rest.length > 0 ? ["", ...combined(rest)] : [""];
  return first.flatMap((segment) => below.map((path) => `/${segment}${path}`));
}

describe("a path", () => {
  it("is taken apart in one way", () => {
    for (const [target, segments] of Object.entries(PATHS.read)) {
      assert.deepEqual(readPath(target)?.segments, segments, target);
    }
    assert.equal(readPath(`/${"a".repeat(8191)}`)?.segments.length, 1);
  });

  it("that servers read in more than one way is not read", () => {
    for (const target of [...PATHS.ambiguous, "/a\0", `/${"a".repeat(8192)}`]) {
      assert.equal(readPath(target), undefined, target);
    }
  });
});

for (const [version, express] of Object.entries({ "Express 4": express4, "Express 5": express5 })) {
  for (const settings of [[], ["case sensitive routing", "strict routing"]]) {
    describe(`what ${version} runs, ${settings.join(", ") || "as it comes"},`, () => {
      it("is what was decided about", async () => {
        const nobody = new Client("127.0.0.1:1", { realm: "edfi" });
        let taken: string | undefined;
        const find = routes(Object.fromEntries(PATHS.routes.map((route) => [route, () => ({ action: route })])));
        const app = express();
        settings.forEach((setting) => app.enable(setting));
        app.use(
          guard(nobody, (request) => {
            const asked = find(request);
            taken = typeof asked === "object" ? asked.action : undefined;
            return asked && PUBLIC;
          }),
        );
        for (const route of PATHS.routes) {
          const [method = "", template = ""] = route.split(" ");
          const verb = method.toLowerCase() as "get" | "head" | "post";
          app[verb](template.replace(/\{(\w+)\}/g, ":$1"), (_: Request, response: Response) => {
            response.set("ran", encodeURIComponent(route)).end();
          });
        }
        const server = app.listen(0, "127.0.0.1");
        await once(server, "listening");
        const agent = new Agent({ keepAlive: true });
        const { port } = server.address() as AddressInfo;
        const ran = async (method: string, path: string): Promise<string | undefined> => {
          taken = undefined;
          const request = send({ port, host: "127.0.0.1", method, path, agent }).end();
          const [response] = (await once(request, "response")) as [IncomingMessage];
          response.resume();
          await once(response, "end");
          const route = response.headers["ran"];
          return typeof route === "string" ? decodeURIComponent(route) : undefined;
        };
        try {
          for (const [asked, route] of Object.entries(PATHS.reached)) {
            const [method = "", path = ""] = asked.split(" ");
            assert.equal(await ran(method, path), route, asked);
          }
          for (const path of PATHS.segments.flatMap(combined)) {
            for (const method of ["GET", "HEAD"]) {
              const route = await ran(method, path);
              assert.ok(route === undefined || route === taken, `${method} ${path}: ${taken} was asked, ${route} ran`);
            }
          }
        } finally {
          agent.destroy();
          server.close();
          nobody.close();
        }
      });
    });
  }
}
