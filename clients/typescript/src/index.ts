/**
 * Asks hallpass what the holder of a token may do.
 *
 * A deny is an answer, an error is never an allow, and an allow with an obligation that was not declared is a deny.
 *
 * @module
 */

export { type CallOptions, Client, type ClientOptions } from "./client.js";
export {
  type Allowed,
  type BatchResult,
  type Decision,
  Denial,
  type FoundResource,
  type Obligation,
  type Page,
  type ReachableEntity,
  type Reason,
  type Refusal,
  type RefusalOutcome,
  required,
  type TokenInfo,
} from "./decision.js";
export { CallError, Denied, type FieldViolation, HallpassError } from "./errors.js";
export {
  type AccessRequest,
  Credentials,
  type Question,
  type Resource,
  type SearchRequest,
  type TokenProof,
} from "./requests.js";
export type { CallerToken, TLS } from "./transport.js";
export { Entity, type Value, type Values } from "./values.js";
