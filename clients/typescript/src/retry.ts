// When a call is tried again: only if nothing was decided, and never beyond its deadline.

import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";

import { callError } from "./errors.js";

/** The first delay is at most this long, in milliseconds; each further one may be twice as long as the one before. */
const FIRST_MS = 50;
const LONGEST_MS = 1000;

/** How long to wait after so many failed tries: drawn, so that those who failed together don't come back together. */
export function delayMs(failed: number): number {
  return Math.random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** (failed - 1));
}

/** Calls, and calls again on `UNAVAILABLE`, within the time that there is for all of it. Throws a `CallError`. */
export async function withRetries<T>(
  call: (leftMs: number) => Promise<T>,
  timeoutMs: number,
  retries: number,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  // Deadlines are sent as whole numbers, and one of 0 would be none.
  const leftMs = () => Math.max(1, Math.ceil(deadline - performance.now()));
  for (let failed = 1; ; failed++) {
    try {
      return await call(leftMs());
    } catch (thrown) {
      const failure = callError(thrown);
      const delay = delayMs(failed);
      if (failure.code !== "UNAVAILABLE" || failed > retries || delay >= leftMs()) {
        throw failure;
      }
      await sleep(delay);
    }
  }
}
