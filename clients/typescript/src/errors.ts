// What goes wrong: a deny that was to be an allow, and calls without an answer. None of it is ever an allow.

import { Code, ConnectError } from "@connectrpc/connect";

import type { Denial, Refusal } from "./decision.js";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** Any of the errors below. */
export class HallpassError extends Error {
  override name = "HallpassError";
}

/** It was decided, and it is a deny. `denial` is the realm's answer for the end client. */
export class Denied extends HallpassError {
  override name = "Denied";
  readonly denial: Denial;

  constructor(readonly decision: Refusal) {
    super(`denied: ${decision.reasons.map((reason) => reason.code).join(", ") || decision.outcome}`);
    this.denial = decision.denial;
  }
}

/** A field of the request that is wrong. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** Nothing can be said now: hallpass isn't there, is not ready, or did not answer in time. */
const UNREACHABLE = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"]);

/** There is no answer. `code` is the gRPC status's name, `reason` the stable code of docs/errors.md. */
export class CallError extends HallpassError {
  override name = "CallError";

  constructor(
    readonly code: string,
    /** The message without the code. */
    readonly detail: string,
    readonly reason: string = "",
    readonly violations: readonly FieldViolation[] = [],
  ) {
    super(reason ? `${code} ${reason}: ${detail}` : `${code}: ${detail}`);
  }

  /** It may go better later, or at another instance. */
  get isUnreachable(): boolean {
    return UNREACHABLE.has(this.code);
  }
}

/** The error of a call. What was sent is no part of it. */
export function callError(thrown: unknown): CallError {
  if (thrown instanceof CallError) {
    return thrown;
  }
  const error = ConnectError.from(thrown);
  const violations = error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations);
  return new CallError(
    brokeOff(error) ? "UNAVAILABLE" : codeName(error.code),
    error.rawMessage,
    error.findDetails(ErrorInfoSchema)[0]?.reason,
    violations.map(({ field, description }) => ({ field, description })),
  );
}

/** The name of a gRPC status code. */
export function codeName(code: number): string {
  if (code === Code.Canceled) {
    return "CANCELLED";
  }
  return (Code[code] ?? "Unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

/** The connection failed: a status by gRPC's own rules, which Connect tells apart into several. */
function brokeOff(error: ConnectError): boolean {
  const isOurs = error.code === Code.DeadlineExceeded || error.code === Code.Canceled;
  return !isOurs && error.cause instanceof Error && "code" in error.cause && typeof error.cause.code === "string";
}
