// What a web server hands over, and what it answers in the place of the application.

import { type Denial, plainDenial } from "./decision.js";
import { type CallError } from "./errors.js";
import { type AccessRequest, Credentials, type TokenProof } from "./requests.js";
import { type Value, type Values } from "./values.js";

/** A request as far as it takes part in a decision. */
export interface HttpRequest {
  readonly method: string;
  /** The segments of the path, decoded once: `/students/ada` is `["students", "ada"]`. */
  readonly segments: readonly string[];
  /** Names and values in turn, as they came (`rawHeaders` of Node). */
  readonly rawHeaders: readonly string[];
  readonly query: URLSearchParams;
  /** Scheme, host and path. */
  readonly url: string;
}

/** An answer in the place of the application's. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The request is refused before anybody is asked. */
export class Refused extends Error {
  readonly answer: Answer;

  constructor(status: number, detail: string) {
    super(detail);
    this.answer = answerOf(plainDenial(status, detail));
  }
}

/** A route that everybody may use; hallpass is not asked. */
export const PUBLIC: unique symbol = Symbol("public");

/** What a route asks: `{name}` in `id` and in texts of `attributes` stands for that segment of the path. */
export interface Rule {
  readonly action: string;
  readonly type: string;
  readonly id?: string;
  /** The stored values, as far as the path says them. */
  readonly attributes?: Values;
  /** The obligations that the route fulfils; the client's if left out. */
  readonly obligations?: readonly string[];
}

/** The segments of a path that a route names. */
export type Segments = ReadonlyMap<string, string>;

/** What is asked: a question, nothing because everybody may, or `undefined` where nobody may. */
export type Asked = AccessRequest | typeof PUBLIC | undefined;

/** What a route leads to: a rule, a function of the path's segments, or everybody. */
export type Target = Rule | typeof PUBLIC | ((segments: Segments) => AccessRequest);

/**
 * A table of routes: `"GET /students/{student}"` to what it asks. As in the application, the first that fits counts, so
 * have them in the application's order; a `GET` is good for `HEAD`, too. What is not in the table is refused. Throws a
 * `TypeError` for a route that is none, and a rule with a name that its route does not have.
 */
export function routes(table: Readonly<Record<string, Target>>): (request: HttpRequest) => Asked {
  const parsed = Object.entries(table).map(
    ([route, target]: [string, Target]) => [parsedRoute(route), target] as const,
  );
  for (const [{ template }, target] of parsed) {
    if (typeof target === "object") {
      asked(target, fit(template, template) ?? new Map());
    }
  }
  const find = (method: string, given: readonly string[]): Asked => {
    for (const [route, target] of parsed) {
      const segments = route.method === method ? fit(route.template, given) : undefined;
      if (segments) {
        return asked(target, segments);
      }
    }
    return undefined;
  };
  return ({ method, segments }) => find(method, segments) ?? (method === "HEAD" ? find("GET", segments) : undefined);
}

function parsedRoute(route: string): { method: string; template: readonly string[] } {
  const [, method, path] = /^([A-Z]+) \/(.*)$/.exec(route) ?? [];
  if (method === undefined || path === undefined) {
    throw new TypeError(`expected a route like \`GET /students/{student}\`, found \`${route}\``);
  }
  return { method, template: path.split("/") };
}

function fit(template: readonly string[], given: readonly string[]): Segments | undefined {
  if (template.length !== given.length) {
    return undefined;
  }
  const segments = new Map<string, string>();
  for (const [place, part] of template.entries()) {
    const text = given[place] ?? "";
    const name = /^\{(.+)\}$/.exec(part)?.[1];
    if (name === undefined ? part !== text : text === "") {
      return undefined;
    }
    if (name !== undefined) {
      segments.set(name, text);
    }
  }
  return segments;
}

function asked(target: Target, segments: Segments): Asked {
  if (target === PUBLIC) {
    return PUBLIC;
  }
  if (typeof target === "function") {
    return target(segments);
  }
  const { action, type, id = "", attributes, obligations } = target;
  const fill = (text: string) =>
    text.replace(/\{([^{}]+)\}/g, (_, name: string) => {
      const segment = segments.get(name);
      if (segment === undefined) {
        throw new TypeError(`the path has no segment \`${name}\``);
      }
      return segment;
    });
  const filled = ([name, value]: [string, Value]) => [name, typeof value === "string" ? fill(value) : value];
  return {
    action,
    resource: {
      type,
      id: fill(id),
      ...(attributes ? { attributes: Object.fromEntries(Object.entries(attributes).map(filled)) } : {}),
    },
    ...(obligations ? { obligations } : {}),
  };
}

/** What a path may not hold, as it came: a separator or an end in disguise, or steps that servers resolve differently. */
const AMBIGUOUS = /\/\/|\\|%2f|%5c|%00|[\0-\x20]|(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i;

/** The segments of a path, decoded once. Throws `Refused` for a path that two servers could read differently. */
export function segmentsOf(rawPath: string): string[] {
  if (!rawPath.startsWith("/") || AMBIGUOUS.test(rawPath)) {
    throw new Refused(400, "the path is ambiguous");
  }
  try {
    return rawPath.slice(1).split("/").map(decodeURIComponent);
  } catch {
    throw new Refused(400, "the path is ambiguous");
  }
}

function valuesOf(request: HttpRequest, name: string): string[] {
  const { rawHeaders } = request;
  return rawHeaders.filter((_, place) => place % 2 === 1 && rawHeaders[place - 1]?.toLowerCase() === name);
}

/**
 * The token that the request came with, and what proves its possession. Whether they are good is for hallpass to say;
 * one that cannot be told from another is refused here (RFC 6750 section 2).
 */
export function credentialsOf(request: HttpRequest): Credentials {
  const [value = "", ...others] = valuesOf(request, "authorization");
  const [, scheme = "", token = ""] = /^(\S*)\s*(.*)$/s.exec(value.trim()) ?? [];
  const [queryToken = "", ...otherQueryTokens] = request.query.getAll("access_token");
  if (others.length > 0 || otherQueryTokens.length > 0 || /[\s,]/.test(token)) {
    throw new Refused(400, "expected one access token");
  }
  const dpop = valuesOf(request, "dpop");
  const proof: TokenProof | undefined =
    dpop.length > 0 ? { method: request.method, uri: request.url, dpop } : undefined;
  return new Credentials(token, scheme, { queryToken, proof });
}

/** The question with what the HTTP request says of it: token, media type, request id. */
export function completed(question: AccessRequest, request: HttpRequest): AccessRequest {
  const reads = request.method === "GET" || request.method === "HEAD";
  const [contentType = ""] = valuesOf(request, "content-type");
  const [requestId = ""] = valuesOf(request, "x-request-id");
  return {
    // A list may come in several headers (RFC 9110 section 5.3); a type may not.
    mediaType: reads ? valuesOf(request, "accept").join(", ") : contentType,
    requestId: /^[!-~]{1,128}$/.test(requestId) ? requestId : "",
    ...question,
    token: question.token ?? credentialsOf(request),
  };
}

/** The realm's denial as an answer to the end client. */
export function answerOf(denial: Denial, requestId = "", more: Readonly<Record<string, string>> = {}): Answer {
  const body = denial.body(requestId);
  // Those of the realm take the place of ours.
  const named = { "Cache-Control": "no-store", ...more, ...denial.headers };
  const headers = Object.fromEntries(Object.entries(named).map(([name, value]) => [name.toLowerCase(), value]));
  return {
    status: denial.status,
    headers: body ? { ...headers, "content-type": "application/problem+json" } : headers,
    body,
  };
}

/** Fields of a request that come from the end client alone. */
const END_CLIENTS = /^(token|query_token|token_scheme|media_type|proof)\b/;

/** The answer when hallpass gave none: a refusal, whatever the reason was. Its words name nothing of ours. */
export function answerOfFailure(error: CallError, requestId = ""): Answer {
  if (error.isUnreachable) {
    const busy = plainDenial(503, "access cannot be decided now, try again later");
    return answerOf(busy, requestId, { "Retry-After": "1" });
  }
  if (error.violations.length > 0 && error.violations.every((each) => END_CLIENTS.test(each.field))) {
    return answerOf(plainDenial(400, "the request's token or media type is malformed"), requestId);
  }
  return answerOf(plainDenial(500, "access cannot be decided"), requestId);
}
