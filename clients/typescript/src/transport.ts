// How hallpass is reached: over TLS, or without it on this machine alone.

import { lookup, type LookupAddress } from "node:dns";
import { readFileSync } from "node:fs";
import type { SecureClientSessionOptions } from "node:http2";
import { BlockList, isIP, type LookupFunction } from "node:net";

import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

/**
 * `ca`: who may sign the service's certificate, in place of the roots that Node knows. `cert` and `key`: your own
 * certificate with what it takes to verify it, and its private key (mTLS). Names of files in PEM, or their content.
 */
export interface TLS {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
}

/** The key or token by which hallpass knows you, or what gives it for each call. */
export type CallerToken = string | (() => string | Promise<string>);

/** How to connect. */
export interface ConnectionOptions {
  /** Without it, only this machine is talked to. */
  readonly tls?: boolean | TLS;
  /** Plain text to anywhere, for networks that encrypt by themselves. */
  readonly plaintext?: boolean;
  readonly callerToken?: CallerToken;
}

/** A connection, made with the first call, and what ends it. */
export interface Connection {
  readonly transport: Transport;
  readonly close: () => void;
}

/** Connects to `host:port`. Throws a `TypeError` for what would send tokens in the open. */
export function connect(target: string, options: ConnectionOptions): Connection {
  const { tls = false, plaintext = false, callerToken } = options;
  if (plaintext && (tls !== false || callerToken !== undefined)) {
    throw new TypeError("plaintext goes with neither tls nor a caller's token");
  }
  const baseUrl = `${tls === false ? "http" : "https"}://${target}`;
  const url = new URL(baseUrl);
  if (
    url.pathname !== "/" ||
    url.search ||
    url.username ||
    `${url.protocol}//${target.toLowerCase()}` !== baseUrl.toLowerCase()
  ) {
    throw new TypeError("expected `host:port`");
  }
  const nodeOptions = tls === false ? (plaintext ? {} : localOnly(url.hostname)) : tlsOptions(tls === true ? {} : tls);
  // Pings notice a machine that went away without a word.
  const sessions = new Http2SessionManager(baseUrl, { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 }, nodeOptions);
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager: sessions,
    interceptors: callerToken === undefined ? [] : [bearer(callerToken)],
    // Batches answer with up to 10,000 reasons and denials.
    readMaxBytes: 64 * 1024 * 1024,
  });
  return { transport, close: () => sessions.abort() };
}

function bearer(token: CallerToken): Interceptor {
  return (next) => async (request) => {
    request.header.set("authorization", `Bearer ${typeof token === "string" ? token : await token()}`);
    return next(request);
  };
}

function tlsOptions({ ca, cert, key }: TLS): SecureClientSessionOptions {
  if ((cert === undefined) !== (key === undefined)) {
    throw new TypeError("a certificate and its key go together");
  }
  const read = (pem: string | Buffer) => (typeof pem === "string" ? readFileSync(pem) : pem);
  return {
    ...(ca === undefined ? {} : { ca: read(ca) }),
    ...(cert === undefined ? {} : { cert: read(cert) }),
    ...(key === undefined ? {} : { key: read(key) }),
  };
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/** Names are resolved to addresses of this machine or not at all; an address must be one. */
export function localOnly(hostname: string, resolve: typeof lookup = lookup): { lookup?: LookupFunction } {
  const address = hostname.replace(/^\[|\]$/g, "");
  if (isIP(address) !== 0) {
    if (!isLoopback(address)) {
      throw new TypeError("without tls only this machine is talked to, expected a loopback address");
    }
    return {};
  }
  return {
    lookup: (name, options, callback) => {
      resolve(name, { ...options, all: true }, (error: NodeJS.ErrnoException | null, found: LookupAddress[]) => {
        const local = error ? [] : found.filter((each) => isLoopback(each.address));
        const first = local[0];
        if (!first) {
          const elsewhere = new Error("without tls only this machine is talked to, and this name is not of it");
          callback(error ?? Object.assign(elsewhere, { code: "ENOTFOUND" }), "", 0);
        } else if (options.all) {
          callback(null, local);
        } else {
          callback(null, first.address, first.family);
        }
      });
    },
  };
}

function isLoopback(address: string): boolean {
  return LOOPBACK.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}
