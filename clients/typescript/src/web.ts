// What a web server hands over, and what it answers in the place of the application.

import { type Denial, plainDenial } from "./decision.js";
import { type CallError } from "./errors.js";
import { type Path, readPath } from "./path.js";
import { type AccessRequest, Credentials, type TokenProof } from "./requests.js";
import { type Value, type Values } from "./values.js";

/** A request as far as it takes part in a decision. */
export interface HttpRequest {
  readonly method: string;
  /** The path as it came, encoded, without the query. */
  readonly path: string;
  /** Its segments, decoded once: `/students/ada` is `["students", "ada"]`. */
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
 * have them in the application's order; a `GET` is good for `HEAD`, too. What is not in the table is refused, and what
 * fits another route as well if letters of either size, encoded letters or a slash at the end don't count: which handler
 * runs then is up to the application's settings. Throws a `TypeError` for a route that no request can have, or that
 * Express takes for a pattern, and a rule with a name that its route does not have.
 */
export function routes(table: Readonly<Record<string, Target>>): (request: HttpRequest) => Asked {
  const rows = Object.entries(table).map(([route, target]: [string, Target]): Row => {
    const row: Row = { ...parsedRoute(route), target };
    if (typeof target === "object") {
      // The rule names nothing but what the path has.
      asked(target, new Map(row.parts.flatMap(({ name }) => (name === undefined ? [] : [[name, name]]))));
    }
    return row;
  });
  return ({ method, path, segments }) => {
    const given = path.slice(1).split("/");
    const fits = rows
      .filter((row) => row.method === method || (method === "HEAD" && row.method === "GET"))
      .flatMap((row) => fit(row, given, segments) ?? []);
    const first = fits.find((each) => each.isExact);
    if (!first) {
      return undefined;
    }
    // Frameworks may also prefer a later `HEAD` to the `GET` before it.
    const isLaterHead = ({ row }: Fit) => row.method === method && first.row.method !== method;
    const rivals = fits.filter((each) => !each.isExact || isLaterHead(each));
    return rivals.every((each) => asksTheSame(each, first)) ? asked(first.row.target, first.segments) : undefined;
  };
}

interface Row {
  readonly method: string;
  readonly parts: readonly Part[];
  readonly target: Target;
}

/** A segment of a route: a name, which stands for any text, or a text. */
interface Part {
  readonly name: string | undefined;
  /** As it must come, letter by letter: Express does not decode what it compares. */
  readonly text: string;
  /** What others may take for the same. */
  readonly folded: string;
}

interface Fit {
  readonly row: Row;
  readonly segments: Segments;
  /** Whether it fits letter by letter. */
  readonly isExact: boolean;
}

function parsedRoute(route: string): Omit<Row, "target"> {
  const [, method, path = ""] = /^([A-Z]+) (\/.*)$/.exec(route) ?? [];
  const texts = path.slice(1).split("/");
  const names = texts.map((text) => /^\{([\p{L}\p{N}_-]+)\}$/u.exec(text)?.[1]);
  // Beside names there are texts that a request may have, and no patterns of Express.
  const plain = texts.map((text, place) => (names[place] === undefined ? text : "x")).join("/");
  const read = readPath(`/${plain}`);
  const named = names.filter((name) => name !== undefined);
  const isPlain = /^[\w/.~%@$!,=&'-]*$/.test(plain) && new Set(named).size === named.length;
  if (method === undefined || !read || !isPlain) {
    throw new TypeError(`expected a route like \`GET /students/{student}\`, found \`${route}\``);
  }
  const parts = texts.map((text, place) => ({ name: names[place], text, folded: folded(read.segments[place] ?? "") }));
  return { method, parts };
}

function fit(row: Row, given: readonly string[], decoded: readonly string[]): Fit | undefined {
  const { parts } = row;
  // A slash at the end is no segment to who doesn't look at it.
  const count = (texts: readonly string[]) => (texts.at(-1) === "" ? texts.length - 1 : texts.length);
  if (count(parts.map(({ text }) => text)) !== count(given)) {
    return undefined;
  }
  const segments = new Map<string, string>();
  let isExact = parts.length === given.length;
  for (const [place, { name, text, folded: own }] of parts.entries()) {
    const segment = decoded[place] ?? "";
    if (name !== undefined) {
      segments.set(name, segment);
    } else if (own !== folded(segment)) {
      return undefined;
    } else {
      isExact &&= text === given[place];
    }
  }
  return { row, segments, isExact };
}

/** Letters of either size are the same, also those that become one. */
function folded(text: string): string {
  return text.toUpperCase().toLowerCase();
}

function asksTheSame(one: Fit, other: Fit): boolean {
  const isSame = [...one.segments].every(([name, text]) => other.segments.get(name) === text);
  return one.row.target === other.row.target && one.segments.size === other.segments.size && isSame;
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

/** Headers by which some frameworks take another method or path than the request has. */
const REWRITING = new Set([
  "x-http-method-override",
  "x-http-method",
  "x-method-override",
  "x-original-url",
  "x-rewrite-url",
]);

/** The path of a target. Throws `Refused` for one that two servers could read differently. */
export function pathOf(target: string): Path {
  const path = readPath(target);
  if (!path) {
    throw new Refused(400, "the path is ambiguous");
  }
  return path;
}

/** Throws `Refused` for a request that asks to be taken for another. */
export function refuseRewriting(rawHeaders: readonly string[], query: URLSearchParams): void {
  // Some servers read `_` as `-`.
  const names = rawHeaders.filter((_, place) => place % 2 === 0).map((name) => name.toLowerCase().replaceAll("_", "-"));
  if (names.some((name) => REWRITING.has(name)) || query.has("_method")) {
    throw new Refused(400, "a method or path in place of the request's own");
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

/**
 * The question with what the HTTP request says of it: token, media type, request id. Throws `Refused` where it says that
 * in more than one way.
 */
export function completed(question: AccessRequest, request: HttpRequest): AccessRequest {
  const reads = request.method === "GET" || request.method === "HEAD";
  const [contentType = "", ...otherTypes] = valuesOf(request, "content-type");
  const [requestId = ""] = valuesOf(request, "x-request-id");
  // A list may come in several headers (RFC 9110 section 5.3); a type may not.
  if (otherTypes.length > 0) {
    throw new Refused(400, "expected one media type");
  }
  return {
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
