// The target of a request, taken apart in one way only: what servers read in more than one way is refused.
//
// Who decides about a path and who serves it must see the same one. The rule is the service's own (docs/envoy.md, RFC 3986
// sections 2.4, 3.3 and 6.2).

/** The longest target, path and query together, in bytes. */
const BYTES_MAX = 8 * 1024;
/** A target: visible ASCII without `#`, which some cut off (RFC 3986 section 2). */
const TARGET = /^\/[!"$-~]*$/;
/**
 * What no segment may hold once it is decoded: separators, ends and parameters in disguise, control characters, and `%`,
 * which makes another path for who decodes twice.
 */
const AMBIGUOUS = /[/\\?#;%\p{Cc}]/u;

/** A path, and the query behind it. */
export interface Path {
  /** As it came, encoded. */
  readonly raw: string;
  /** Decoded once: none is empty but perhaps the last, where the path ends in a slash. */
  readonly segments: readonly string[];
  /** As it came, without the `?`. */
  readonly query: string;
}

/** Reads the target of a request; `undefined` for one that two servers could read differently. */
export function readPath(target: string): Path | undefined {
  if (target.length > BYTES_MAX || !TARGET.test(target)) {
    return undefined;
  }
  const [raw = "", ...query] = target.split("?");
  const parts = raw.slice(1).split("/");
  const segments = parts.map(segment).filter((text) => text !== undefined);
  const isEmptyWithin = parts.slice(0, -1).includes("");
  return isEmptyWithin || segments.length < parts.length ? undefined : { raw, segments, query: query.join("?") };
}

function segment(part: string): string | undefined {
  try {
    const text = decodeURIComponent(part);
    return AMBIGUOUS.test(text) || text === "." || text === ".." ? undefined : text;
  } catch {
    return undefined;
  }
}
