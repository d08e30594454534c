// The client.

import { create, type DescService } from "@bufbuild/protobuf";
import { type Client as ServiceClient, createClient } from "@connectrpc/connect";

import {
  type Allowed,
  batchFromWire,
  type BatchResult,
  type Decision,
  decisionFromWire,
  type FoundResource,
  type Page,
  pageFromWire,
  required,
  type TokenInfo,
  tokenInfoFromWire,
} from "./decision.js";
import { AuthorizationService, BatchAuthorizeRequestSchema } from "./gen/hallpass/v1/authorization_pb.js";
import {
  type AccessRequest,
  accessRequestToWire,
  countsOnce,
  type Credentials,
  type Question,
  type SearchRequest,
  searchRequestToWire,
  tokenInfoToWire,
} from "./requests.js";
import { withRetries } from "./retry.js";
import { connect, type Connection, type ConnectionOptions } from "./transport.js";

/** How a client asks. */
export interface ClientOptions extends ConnectionOptions {
  /** The realm of requests that name none. */
  readonly realm?: string;
  /** Bounds a call with all its retries; 5,000 if left out. */
  readonly timeoutMs?: number;
  /** How often a call is tried again at most, on `UNAVAILABLE` alone; 3 if left out. */
  readonly retries?: number;
  /** The obligations that your code fulfils, for requests that name none. */
  readonly obligations?: readonly string[];
}

/** What can be said of a single call. */
export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** How long a page of a search may take, unless said otherwise. */
const SEARCH_TIMEOUT_MS = 60_000;

/** Asks hallpass. One client serves a whole process: its calls share a connection. */
export class Client {
  readonly #connection: Connection;
  readonly #service: ServiceClient<typeof AuthorizationService>;
  readonly #realm: string;
  readonly #timeoutMs: number;
  readonly #retries: number;
  readonly #obligations: readonly string[];

  /** `target` is `host:port`. */
  constructor(target: string, options: ClientOptions = {}) {
    this.#connection = connect(target, options);
    this.#service = createClient(AuthorizationService, this.#connection.transport);
    this.#realm = options.realm ?? "";
    this.#timeoutMs = options.timeoutMs ?? 5000;
    this.#retries = options.retries ?? 3;
    this.#obligations = options.obligations ?? [];
  }

  /** The realm of requests that name none; empty where there is none. */
  get realm(): string {
    return this.#realm;
  }

  /** Ends the connection. */
  close(): void {
    this.#connection.close();
  }

  /**
   * A service of `hallpass-client/v1/…` over this client's connection, for all that has no method here. Its calls have
   * the deadline that you give them, are not retried, and throw a `ConnectError`.
   */
  service<S extends DescService>(service: S): ServiceClient<S> {
    return createClient(service, this.#connection.transport);
  }

  /** Decides one question. Throws a `CallError` if there is no answer. */
  async authorize(request: AccessRequest, options: CallOptions = {}): Promise<Decision> {
    const understood = this.#understood(request);
    const message = accessRequestToWire(request, this.#realm, understood);
    return decisionFromWire(
      await this.#call([request], options, (call) => this.#service.authorize(message, call)),
      understood,
    );
  }

  /** As `authorize`, and throws `Denied` for a deny. */
  async require(request: AccessRequest, options: CallOptions = {}): Promise<Allowed> {
    return required(await this.authorize(request, options));
  }

  /** Decides up to 10,000 questions, in their order. What an item leaves out comes from `defaults`. */
  async batch(
    items: readonly AccessRequest[],
    defaults: AccessRequest = {},
    options: CallOptions = {},
  ): Promise<BatchResult[]> {
    const common = this.#understood(defaults);
    const message = create(BatchAuthorizeRequestSchema, {
      defaults: accessRequestToWire(defaults, this.#realm, common),
      items: items.map((item) => accessRequestToWire(item, "", item.obligations ?? [])),
    });
    const answer = await this.#call([defaults, ...items], options, (call) =>
      this.#service.batchAuthorize(message, call),
    );
    return batchFromWire(
      answer,
      items.map((item) => item.obligations ?? common),
    );
  }

  /** The pages of a search; after a deny there is one, without resources. `timeoutMs` is that of each page. */
  async *pages(request: SearchRequest, options: CallOptions = {}): AsyncGenerator<Page, void, undefined> {
    const call = { timeoutMs: SEARCH_TIMEOUT_MS, ...options };
    let token = "";
    do {
      const page = await this.#page(request, call, { token });
      yield page;
      token = page.nextPageToken;
    } while (token !== "");
  }

  /**
   * The resources that the token may act on, page by page. Throws `Denied` if it may not search at all. Declared
   * obligations hold for every resource; `pages` has them.
   */
  async *search(request: SearchRequest, options: CallOptions = {}): AsyncGenerator<FoundResource, void, undefined> {
    for await (const page of this.pages(request, options)) {
      required(page.decision);
      yield* page.resources;
    }
  }

  /** Whether the token may search, with the obligation `row_filter` or `authorize_each`; no resources. */
  async rowFilter(request: SearchRequest, options: CallOptions = {}): Promise<Decision> {
    return (await this.#page(request, options, { filterOnly: true })).decision;
  }

  /** What a token may do. */
  async tokenInfo(token: string | Credentials, options: CallOptions & { realm?: string } = {}): Promise<TokenInfo> {
    const message = tokenInfoToWire(token, options.realm || this.#realm);
    return tokenInfoFromWire(
      await this.#call([{ token }], options, (call) => this.#service.getTokenInfo(message, call)),
    );
  }

  #understood(question: Question): readonly string[] {
    return question.obligations ?? this.#obligations;
  }

  #page(request: SearchRequest, options: CallOptions, page: { token?: string; filterOnly?: boolean }): Promise<Page> {
    const understood = this.#understood(request);
    const message = searchRequestToWire(request, this.#realm, understood, page);
    // A page is whole or it isn't there: nothing of it was shown yet when its call is tried again.
    return this.#call([request], options, (call) =>
      pageFromWire(this.#service.searchResources(message, call), understood),
    );
  }

  #call<T>(
    questions: readonly Pick<Question, "token">[],
    options: CallOptions,
    call: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const signal = options.signal ? { signal: options.signal } : {};
    const once = (leftMs: number) => call({ timeoutMs: leftMs, ...signal });
    // Credentials that count once may have been used up by the try that failed.
    const retries = countsOnce(questions) ? 0 : this.#retries;
    return withRetries(once, options.timeoutMs ?? this.#timeoutMs, retries);
  }
}
