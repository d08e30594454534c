"""When a call is tried again: only if nothing was decided, and never beyond its deadline."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic

from .errors import CallError
from .requests import AccessRequest, SearchRequest, credentials_of

_log = logging.getLogger("hallpass_client")


@dataclass(frozen=True)
class Retry:
    """How often, and after how many seconds. Delays double from `first` up to `longest`; each is drawn from between
    nothing and that, so that those who failed together don't come back together."""

    retries: int = 3
    first: float = 0.05
    longest: float = 1.0

    def of(self, questions: Iterable[AccessRequest | SearchRequest]) -> Retry:
        """None where a question's credentials count once: the failed try may have used them up."""
        return Retry(0) if any(credentials_of(each.token).counts_once for each in questions) else self

    def delay(self, failed: int) -> float:
        """How long to wait after so many failed tries, in seconds."""
        return random.uniform(0, min(self.longest, self.first * 2 ** (failed - 1)))  # noqa: S311 (no secret)


class Tries:
    """The tries of one call."""

    def __init__(self, retry: Retry, timeout: float) -> None:
        self._retry = retry
        self._deadline = monotonic() + timeout
        self._failed = 0

    def left(self) -> float:
        """How many seconds the call still has."""
        return max(0.0, self._deadline - monotonic())

    def after(self, failure: CallError) -> float:
        """How long to wait before the next try. Raises the failure if there is to be none."""
        self._failed += 1
        delay = self._retry.delay(self._failed)
        if failure.code != "UNAVAILABLE" or self._failed > self._retry.retries or delay >= self.left():
            raise failure
        _log.debug("try %d failed with %s %s, again in %.3f s", self._failed, failure.code, failure.reason, delay)
        return delay
