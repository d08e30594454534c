/**
 * Middleware for Express: asks before a handler sees the request.
 *
 * @module
 */

import type { NextFunction, Request, RequestHandler, Response } from "express";

import type { Client } from "./client.js";
import type { Allowed } from "./decision.js";
import { CallError, Denied } from "./errors.js";
import type { Path } from "./path.js";
import type { AccessRequest, Resource } from "./requests.js";
import {
  type Answer,
  answerOf,
  answerOfFailure,
  type Asked,
  completed,
  type HttpRequest,
  pathOf,
  PUBLIC,
  Refused,
  refuseRewriting,
} from "./web.js";

export { type Asked, type HttpRequest, PUBLIC, routes, type Rule, type Segments, type Target } from "./web.js";

/** How a guard behaves. */
export interface GuardOptions {
  /** Hears of requests that are refused because hallpass gave no answer; writes a line to stderr if left out. */
  readonly onFailure?: (error: CallError) => void;
}

const DECISION = "hallpass";

/** The allow that a handler runs under, with the obligations to fulfil; `undefined` on a public route. */
export function decisionOf(response: Response): Allowed | undefined {
  return response.locals[DECISION] as Allowed | undefined;
}

/**
 * Lets a request pass that is allowed or public; answers all others itself. `ask` says what a request asks: `routes` of a
 * table, or a function of your own. What it knows nothing of is refused. A request that can't be decided is refused, with
 * 503 when hallpass can't be reached. Throws a `TypeError` for a client without a realm: the token, which the end client
 * chose, would choose who decides.
 */
export function guard(
  client: Client,
  ask: (request: HttpRequest) => Asked | Promise<Asked>,
  options: GuardOptions = {},
): RequestHandler {
  return handler(client, options, (_, request) => ask(request));
}

/** The same for a single route, where Express has its parameters, and a body if a parser came before. */
export function requires(
  client: Client,
  action: string,
  about: (request: Request) => Resource | Promise<Resource>,
  options: GuardOptions & { readonly obligations?: readonly string[] } = {},
): RequestHandler {
  const { obligations } = options;
  return handler(client, options, async (request) => ({
    action,
    resource: await about(request),
    ...(obligations ? { obligations } : {}),
  }));
}

function handler(
  client: Client,
  options: GuardOptions,
  ask: (request: Request, http: HttpRequest) => Asked | Promise<Asked>,
): RequestHandler {
  const { onFailure = toStderr } = options;
  if (!client.realm) {
    throw new TypeError("expected a client with a realm");
  }
  return (request: Request, response: Response, next: NextFunction): void => {
    const { method } = request;
    let requestId = "";
    const decide = async (): Promise<Allowed | undefined> => {
      const http = httpRequest(request);
      const asked = await ask(request, http);
      if (asked === PUBLIC) {
        return undefined;
      }
      if (asked === undefined) {
        throw new Refused(403, "nobody may use this route");
      }
      const question: AccessRequest = completed(asked, http);
      requestId = question.requestId ?? "";
      return client.require(question);
    };
    decide()
      .then(
        (decision) => {
          response.locals[DECISION] = decision;
          // Nobody behind makes another request of it than was decided about.
          Object.defineProperty(request, "method", { value: method, writable: false, configurable: true });
          next();
        },
        (error: unknown) => {
          const answer = refusal(error, requestId, onFailure);
          if (!answer) {
            throw error;
          }
          response.writeHead(answer.status, { ...answer.headers }).end(answer.body);
        },
      )
      // What else went wrong is a bug in `ask`; the application's handler of errors answers it. Whatever was thrown
      // becomes an error: `next()`, `next("route")` and `next("router")` would go on.
      .catch((thrown: unknown) => {
        next(thrown instanceof Error ? thrown : new Error("what the request asks cannot be said", { cause: thrown }));
      });
  };
}

function refusal(error: unknown, requestId: string, onFailure: (error: CallError) => void): Answer | undefined {
  if (error instanceof Refused) {
    return error.answer;
  }
  if (error instanceof Denied) {
    return answerOf(error.denial, requestId);
  }
  if (error instanceof CallError) {
    onFailure(error);
    return answerOfFailure(error, requestId);
  }
  return undefined;
}

/** The request as it came: Express has one of several `Authorization` headers, and decoded parameters. */
function httpRequest(request: Request): HttpRequest {
  const { raw, query: text } = pathOf(request.originalUrl);
  const query = new URLSearchParams(text);
  refuseRewriting(request.rawHeaders, query);
  return new Incoming(request, query, pathOf(routedPath(request, raw)), raw);
}

/** The whole path that Express goes on with: the one that came, unless something has put another in its place. */
function routedPath({ baseUrl, url }: Request, came: string): string {
  const [path = ""] = url.split("?");
  const routed = baseUrl + path;
  // Below `/students`, what was `/students` is `/`.
  return path === "/" && baseUrl === came ? came : routed;
}

/** Shows nothing of what it holds where it is logged: tokens, and ids of people. */
class Incoming implements HttpRequest {
  readonly #method: string;
  readonly #request: Request;
  readonly #query: URLSearchParams;
  readonly #path: Path;
  readonly #came: string;

  constructor(request: Request, query: URLSearchParams, path: Path, came: string) {
    this.#method = request.method;
    this.#request = request;
    this.#query = query;
    this.#path = path;
    this.#came = came;
  }

  get method(): string {
    return this.#method;
  }

  get path(): string {
    return this.#path.raw;
  }

  get segments(): readonly string[] {
    return this.#path.segments;
  }

  get rawHeaders(): readonly string[] {
    return this.#request.rawHeaders;
  }

  get query(): URLSearchParams {
    return this.#query;
  }

  get url(): string {
    return `${this.#request.protocol}://${this.#request.get("host") ?? ""}${this.#came}`;
  }
}

function toStderr(error: CallError): void {
  console.error(`hallpass: a request is refused because hallpass gave no answer: ${error.code} ${error.reason}`);
}
