// What is asked.

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import {
  type AuthorizeRequest,
  AuthorizeRequestSchema,
  type GetTokenInfoRequest,
  GetTokenInfoRequestSchema,
  type Resource as WireResource,
  ResourceSchema,
  type SearchResourcesRequest,
  SearchResourcesRequestSchema,
  type TokenProofSchema,
} from "./gen/hallpass/v1/authorization_pb.js";
import { ExplainLevel } from "./gen/hallpass/v1/explanation_pb.js";
import { type Entity, entityToWire, recordToWire, type Values } from "./values.js";

/** What the request showed of the key that its token may be bound to (RFC 9449, RFC 8705). */
export interface TokenProof {
  method?: string;
  uri?: string;
  dpop?: readonly string[];
  clientCertificate?: Uint8Array<ArrayBuffer>;
}

/** A token with all that came with it. What it holds is shown by no log and no JSON. */
export class Credentials {
  readonly #token: string;
  readonly #queryToken: string;
  readonly #proof: TokenProof | undefined;

  constructor(
    token: string,
    readonly scheme: string = "",
    more: { queryToken?: string; proof?: TokenProof | undefined } = {},
  ) {
    this.#token = token;
    this.#queryToken = more.queryToken ?? "";
    this.#proof = more.proof;
  }

  /** @internal A second call with them would be taken for a replay (RFC 9449 section 11.1). */
  get countsOnce(): boolean {
    return (this.#proof?.dpop?.length ?? 0) > 0;
  }

  /** @internal The members of messages that have them. */
  toWire(): {
    token: string;
    tokenScheme: string;
    queryToken: string;
    proof?: MessageInitShape<typeof TokenProofSchema>;
  } {
    const wire = { token: this.#token, tokenScheme: this.scheme, queryToken: this.#queryToken };
    return this.#proof ? { ...wire, proof: { ...this.#proof, dpop: [...(this.#proof.dpop ?? [])] } } : wire;
  }
}

/** What an action is done to. */
export interface Resource {
  readonly type?: string;
  readonly id?: string;
  /** The stored values; left out where nothing is stored. */
  readonly attributes?: Values;
  /** The values of the request's body; left out where there is none. */
  readonly proposed?: Values;
}

/** What questions of each kind can say. */
export interface Question {
  /** The access token that you received. A text is one of the scheme `Bearer`. */
  readonly token?: string | Credentials;
  /** The realm that decides; the client's if left out or empty. */
  readonly realm?: string;
  readonly context?: Values;
  /** The obligations that are fulfilled if this is allowed; the client's if left out. */
  readonly obligations?: readonly string[];
  /** The `Accept` header of a read, the `Content-Type` of a write. */
  readonly mediaType?: string;
  /** Your own id of the request, kept in the decision log. Nothing personal. */
  readonly requestId?: string;
  /** Why the data is asked for, kept in the decision log. Nothing personal. */
  readonly purpose?: string;
  /** Decide on relationships at least this fresh. */
  readonly atLeastRevision?: bigint;
}

/** One question. In a batch, what an item leaves out comes from the batch's defaults. */
export interface AccessRequest extends Question {
  readonly action?: string;
  readonly resource?: Resource;
  /** How much the answer says of why; `FULL` takes a caller's token. */
  readonly explain?: "NONE" | "REASONS" | "FULL";
}

/** Which resources of a type may a token act on? */
export interface SearchRequest extends Question {
  readonly action: string;
  readonly resourceType: string;
  /** Only these, each with its stored values; all that the service knows if left out. */
  readonly candidates?: readonly Resource[];
  /** Only what lies within this entity. */
  readonly within?: Entity;
  /** At most this many resources in a page; 0: all in one, which is what a DPoP proof, good for one call, is good for. */
  readonly pageSize?: number;
}

function common(question: Question, realm: string, obligations: Iterable<string>) {
  return {
    ...credentialsOf(question.token).toWire(),
    realm: question.realm || realm,
    context: recordToWire(question.context ?? {}),
    atLeastRevision: question.atLeastRevision ?? 0n,
    requestId: question.requestId ?? "",
    mediaType: question.mediaType ?? "",
    purpose: question.purpose ?? "",
    supportedObligations: [...obligations].sort(),
  };
}

/** The message of a question. */
export function accessRequestToWire(
  request: AccessRequest,
  realm: string,
  obligations: Iterable<string>,
): AuthorizeRequest {
  return create(AuthorizeRequestSchema, {
    ...common(request, realm, obligations),
    action: request.action ?? "",
    explain: request.explain ? ExplainLevel[request.explain] : ExplainLevel.UNSPECIFIED,
    ...(request.resource ? { resource: resourceToWire(request.resource) } : {}),
  });
}

/** The message of one page of a search. */
export function searchRequestToWire(
  request: SearchRequest,
  realm: string,
  obligations: Iterable<string>,
  page: { token?: string; filterOnly?: boolean } = {},
): SearchResourcesRequest {
  return create(SearchResourcesRequestSchema, {
    ...common(request, realm, obligations),
    action: request.action,
    resourceType: request.resourceType,
    candidates: (request.candidates ?? []).map(resourceToWire),
    hasCandidates: request.candidates !== undefined,
    pageSize: request.pageSize ?? (countsOnce([request]) ? 0 : 1000),
    pageToken: page.token ?? "",
    filterOnly: page.filterOnly ?? false,
    ...(request.within ? { within: entityToWire(request.within) } : {}),
  });
}

/** The message that asks what a token may do. */
export function tokenInfoToWire(token: string | Credentials, realm: string): GetTokenInfoRequest {
  return create(GetTokenInfoRequestSchema, { ...credentialsOf(token).toWire(), realm });
}

/** A second call with the credentials of one of these would be taken for a replay. */
export function countsOnce(questions: readonly Pick<Question, "token">[]): boolean {
  return questions.some(({ token }) => credentialsOf(token).countsOnce);
}

function credentialsOf(token: string | Credentials | undefined): Credentials {
  return token instanceof Credentials ? token : new Credentials(token ?? "");
}

function resourceToWire(resource: Resource): WireResource {
  return create(ResourceSchema, {
    type: resource.type ?? "",
    id: resource.id ?? "",
    attributes: recordToWire(resource.attributes ?? {}),
    proposed: recordToWire(resource.proposed ?? {}),
    hasAttributes: resource.attributes !== undefined,
    hasProposed: resource.proposed !== undefined,
  });
}
