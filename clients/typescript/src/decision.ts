// Answers.

import { CallError, codeName, Denied } from "./errors.js";
import {
  type AuthorizeResponse,
  type BatchAuthorizeResponse,
  Decision as WireDecision,
  type GetTokenInfoResponse,
  Outcome as WireOutcome,
  type SearchEnd,
  type SearchResourcesResponse,
} from "./gen/hallpass/v1/authorization_pb.js";
import type { Explanation } from "./gen/hallpass/v1/explanation_pb.js";
import { type Entity, entityFromWire, recordFromWire, type Value, type Values } from "./values.js";

/** What a search answers with instead of resources; nobody has to declare these for a search. */
const SEARCH_OBLIGATIONS = ["row_filter", "authorize_each"];

/** How a deny came about. */
export type RefusalOutcome = "NOT_PERMITTED" | "FORBIDDEN" | "INDETERMINATE" | "UNAUTHENTICATED";

/** One reason for a decision. */
export interface Reason {
  readonly code: string;
  readonly message: string;
  readonly policyId: string;
  readonly subjects: readonly string[];
  readonly hints: readonly string[];
}

/** What must be done with an allow. */
export interface Obligation {
  readonly id: string;
  readonly parameters: Values;
}

interface Answer {
  readonly reasons: readonly Reason[];
  readonly determiningPolicies: readonly string[];
  readonly decisionId: string;
  readonly policyVersion: string;
  readonly dataRevision: bigint;
  readonly explanation: Explanation | undefined;
}

/** An allow, with what must be done with it, in order; each was declared as understood. */
export interface Allowed extends Answer {
  readonly allowed: true;
  readonly outcome: "ALLOWED";
  readonly obligations: readonly Obligation[];
  readonly denial?: undefined;
}

/** A deny, with the realm's answer for the end client. */
export interface Refusal extends Answer {
  readonly allowed: false;
  readonly outcome: RefusalOutcome;
  readonly obligations: readonly [];
  readonly denial: Denial;
}

/** An answer: look at `allowed`. (The object itself is true in an `if`, as every object is.) */
export type Decision = Allowed | Refusal;

/** The realm's own answer for the end client: an HTTP problem (RFC 9457). */
export class Denial {
  constructor(
    readonly status: number,
    readonly type: string,
    readonly title: string,
    readonly detail: string,
    readonly errors: readonly string[] = [],
    readonly headers: Readonly<Record<string, string>> = {},
    readonly members: Values = {},
  ) {}

  /** The members of the body; `undefined` where the realm wants no body. */
  problem(requestId = ""): Record<string, Value> | undefined {
    const { type, title, detail } = this;
    const said = Object.entries({ type, title, detail }).filter(([, text]) => text !== "");
    if (said.length === 0 && Object.keys(this.members).length === 0) {
      return undefined;
    }
    return {
      ...Object.fromEntries(said),
      status: this.status,
      ...(requestId ? { correlationId: requestId } : {}),
      ...(this.errors.length > 0 ? { errors: this.errors } : {}),
      // A realm may have a member `status` of its own.
      ...this.members,
    };
  }

  /** The body, `application/problem+json`; empty where the realm wants none. */
  body(requestId = ""): string {
    const problem = this.problem(requestId);
    const exact = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
    return problem ? JSON.stringify(problem, exact) : "";
  }
}

/** What came of one item of a batch: a decision, or an error, which is never an allow. */
export type BatchResult =
  | { readonly allowed: boolean; readonly decision: Decision; readonly error?: undefined }
  | { readonly allowed: false; readonly decision?: undefined; readonly error: CallError };

/** A resource that the token may act on; `candidate` is its place among the candidates, from 0. */
export interface FoundResource {
  readonly id: string;
  readonly candidate: number;
}

/** A page of a search. `complete`: the pages so far hold every resource that the token may act on. */
export interface Page {
  readonly decision: Decision;
  readonly resources: readonly FoundResource[];
  readonly nextPageToken: string;
  readonly complete: boolean;
}

/** An entity that a principal reaches, what records say about it, and what stands directly above it. */
export interface ReachableEntity {
  readonly entity: Entity;
  readonly facts: Readonly<Record<string, string>>;
  readonly parents: readonly Entity[];
}

/** What a token may do. */
export type TokenInfo =
  | { readonly active: false; readonly reason: string }
  | {
      readonly active: true;
      readonly principal: Entity | undefined;
      readonly attributes: Values;
      readonly reachable: readonly ReachableEntity[];
      /** The actions that are granted, by resource type. */
      readonly resources: ReadonlyMap<string, readonly string[]>;
      /** The same by resource claim, of claims that are no resource type. */
      readonly claims: ReadonlyMap<string, readonly string[]>;
      readonly expiresAt: Date;
    };

/** The decision, if it allows; throws `Denied` otherwise. */
export function required(decision: Decision): Allowed {
  if (!decision.allowed) {
    throw new Denied(decision);
  }
  return decision;
}

/** The answer. An allow with an obligation that is not understood is a deny, whoever sent it. */
export function decisionFromWire(message: AuthorizeResponse, understood: Iterable<string>): Decision {
  const known = new Set(understood);
  const saysAllow = message.decision === WireDecision.ALLOW && message.outcome === WireOutcome.ALLOWED;
  const foreign = message.obligations.filter((each) => !known.has(each.id));
  const answer = {
    reasons: message.reasons.map(({ code, message, policyId, subjects, hints }) => ({
      code,
      message,
      policyId,
      subjects,
      hints,
    })),
    determiningPolicies: message.determiningPolicies,
    decisionId: message.decisionId,
    policyVersion: message.policyVersion,
    dataRevision: message.dataRevision,
    explanation: message.explanation,
  };
  if (!saysAllow) {
    return { ...answer, allowed: false, outcome: outcomeOf(message), obligations: [], denial: denialOf(message) };
  }
  if (foreign.length > 0) {
    const names = foreign.map((each) => `\`${each.id}\``).join(", ");
    const words = `it would be allowed with obligations that are not understood: ${names}`;
    const reasons = [{ code: "OBLIGATION_NOT_SUPPORTED", message: words, policyId: "", subjects: [], hints: [] }];
    return { ...answer, reasons, allowed: false, outcome: "INDETERMINATE", obligations: [], denial: plainDenial(403) };
  }
  const obligations = message.obligations.map(({ id, parameters }) => ({ id, parameters: recordFromWire(parameters) }));
  return { ...answer, allowed: true, outcome: "ALLOWED", obligations };
}

/** The results in the order of the items. Throws a `CallError` if there are more or fewer than items. */
export function batchFromWire(
  message: BatchAuthorizeResponse,
  understood: readonly (readonly string[])[],
): BatchResult[] {
  if (message.results.length !== understood.length) {
    const found = `expected ${understood.length} results, found ${message.results.length}`;
    throw new CallError("INTERNAL", found, "ANSWER_INCOMPLETE");
  }
  return message.results.map(({ result }, place) => {
    switch (result.case) {
      case "response": {
        const decision = decisionFromWire(result.value, understood[place] ?? []);
        return { allowed: decision.allowed, decision };
      }
      case "error": {
        const { code, message, reason } = result.value;
        return { allowed: false, error: new CallError(codeName(code), message, reason) };
      }
      default:
        return { allowed: false, error: new CallError("INTERNAL", "an item has no result", "ANSWER_INCOMPLETE") };
    }
  });
}

/** Puts the parts of a search's answer together. Throws a `CallError` if the page is not whole. */
export async function pageFromWire(
  parts: AsyncIterable<SearchResourcesResponse>,
  understood: readonly string[],
): Promise<Page> {
  let decision: Decision | undefined;
  let end: SearchEnd | undefined;
  const resources: FoundResource[] = [];
  for await (const { part } of parts) {
    switch (part.case) {
      case "answer":
        decision = decisionFromWire(part.value, [...SEARCH_OBLIGATIONS, ...understood]);
        break;
      case "found":
        resources.push(...part.value.resources.map(({ id, candidate }) => ({ id, candidate })));
        break;
      case "end":
        end = part.value;
        break;
    }
  }
  if (!decision || !end) {
    throw new CallError("INTERNAL", "the answer broke off", "ANSWER_INCOMPLETE");
  }
  if (!decision.allowed) {
    return { decision, resources: [], nextPageToken: "", complete: false };
  }
  return { decision, resources, nextPageToken: end.nextPageToken, complete: end.complete };
}

/** What a token may do. */
export function tokenInfoFromWire(message: GetTokenInfoResponse): TokenInfo {
  if (!message.active) {
    return { active: false, reason: message.reason };
  }
  return {
    active: true,
    principal: message.principal && entityFromWire(message.principal),
    attributes: recordFromWire(message.attributes),
    reachable: message.reachable.flatMap(({ entity, facts, parents }) =>
      entity ? [{ entity: entityFromWire(entity), facts, parents: parents.map(entityFromWire) }] : [],
    ),
    resources: new Map(message.resources.map(({ type, actions }) => [type, actions])),
    claims: new Map(message.claims.map(({ claim, actions }) => [claim, actions])),
    expiresAt: new Date(Number(message.expiresAtSeconds) * 1000),
  };
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** A denial in HTTP's own words. */
export function plainDenial(status: number, detail = ""): Denial {
  const headers: Record<string, string> = status === 401 ? { "WWW-Authenticate": "Bearer" } : {};
  return new Denial(status, "about:blank", TITLES[status] ?? "", detail, [], headers);
}

function outcomeOf(message: AuthorizeResponse): RefusalOutcome {
  switch (message.outcome) {
    case WireOutcome.NOT_PERMITTED:
      return "NOT_PERMITTED";
    case WireOutcome.FORBIDDEN:
      return "FORBIDDEN";
    case WireOutcome.UNAUTHENTICATED:
      return "UNAUTHENTICATED";
    default:
      return "INDETERMINATE";
  }
}

function denialOf({ denial, outcome }: AuthorizeResponse): Denial {
  if (!denial) {
    return plainDenial(outcome === WireOutcome.UNAUTHENTICATED ? 401 : 403);
  }
  // Whatever a realm says, a denial is no success and no redirection.
  const status = denial.status >= 400 && denial.status <= 599 ? denial.status : 403;
  const { type, title, detail, errors, headers, members } = denial;
  return new Denial(status, type, title, detail, errors, headers, recordFromWire(members));
}
