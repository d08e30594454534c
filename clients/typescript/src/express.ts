/**
 * Middleware for Express: asks before a handler sees the request.
 *
 * @module
 */

import type { NextFunction, Request, RequestHandler, Response } from "express";

import type { Client } from "./client.js";
import type { Allowed } from "./decision.js";
import { CallError, Denied } from "./errors.js";
import type { AccessRequest, Resource } from "./requests.js";
import {
  type Answer,
  answerOf,
  answerOfFailure,
  type Asked,
  completed,
  type HttpRequest,
  PUBLIC,
  Refused,
  segmentsOf,
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
 * 503 when hallpass can't be reached.
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
  return (request: Request, response: Response, next: NextFunction): void => {
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
      // What else went wrong is a bug in `ask`; the application's handler of errors answers it.
      .catch(next);
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

/** The request as it came: Express has one of several `Authorization` headers, decoded parameters, a shortened path. */
function httpRequest(request: Request): HttpRequest {
  const [rawPath = "", ...query] = request.originalUrl.split("?");
  return {
    method: request.method,
    segments: segmentsOf(rawPath),
    rawHeaders: request.rawHeaders,
    query: new URLSearchParams(query.join("?")),
    url: `${request.protocol}://${request.get("host") ?? ""}${rawPath}`,
  };
}

function toStderr(error: CallError): void {
  console.error(`hallpass: a request is refused because hallpass gave no answer: ${error.code} ${error.reason}`);
}
