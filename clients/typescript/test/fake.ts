// A service that answers as a test says: also what the real one never would.

import { createSecureServer, createServer, type SecureServerOptions, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import {
  AuthorizationService,
  type AuthorizeResponseSchema,
  BatchAuthorizeResponseSchema,
  Decision,
  Outcome,
  type SearchResourcesResponseSchema,
} from "hallpass-client/v1/authorization";

export const ALLOW = { decision: Decision.ALLOW, outcome: Outcome.ALLOWED } as const;

type Authorized = MessageInitShape<typeof AuthorizeResponseSchema>;
type Batch = MessageInitShape<typeof BatchAuthorizeResponseSchema>;
type Part = MessageInitShape<typeof SearchResourcesResponseSchema>;

/** What the service says to one call after the other, the last of it for ever. A number is the status of an error. */
export interface Says {
  authorize?: (Authorized | Code)[];
  batch?: (Batch | Code)[];
  search?: (Part[] | Code)[];
}

/** A running fake: where, the `authorization` metadata of each call so far, and the realm of each question. */
export interface Fake {
  readonly address: string;
  readonly keys: (string | null)[];
  readonly realms: string[];
  readonly close: () => Promise<void>;
}

/** Serves on a free port of this machine. */
export async function fake(says: Says, tls?: SecureServerOptions): Promise<Fake> {
  const keys: (string | null)[] = [];
  const realms: string[] = [];
  function next<T extends object>(list: (T | Code)[] | undefined, context: HandlerContext): T {
    keys.push(context.requestHeader.get("authorization"));
    const said = list && list.length > 1 ? list.shift() : list?.[0];
    if (said === undefined || typeof said === "number") {
      throw new ConnectError("as the test wants it", said ?? Code.Unimplemented);
    }
    return said;
  }
  const handler = connectNodeAdapter({
    routes: ({ service }) => {
      service(AuthorizationService, {
        authorize: ({ realm }, context) => {
          realms.push(realm);
          return next(says.authorize, context);
        },
        batchAuthorize: (_, context) => create(BatchAuthorizeResponseSchema, next(says.batch, context)),
        async *searchResources(_, context) {
          yield* next(says.search, context);
        },
      });
    },
  });
  const server = tls ? createSecureServer(tls, handler) : createServer(handler);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => sessions.add(session));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const close = () =>
    new Promise<void>((closed) => {
      server.close(() => closed());
      sessions.forEach((session) => session.destroy());
    });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, keys, realms, close };
}
