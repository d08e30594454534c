"""The path of a request, taken apart in one way only: what servers read in more than one way is refused.

Who decides about a path and who serves it must see the same one. The rule is the service's own (docs/envoy.md, RFC 3986
sections 2.4, 3.3 and 6.2).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

#: The longest path and query together, in bytes.
BYTES_MAX = 8 * 1024
#: What a path and a query may be made of: visible ASCII without `#`, which some cut off (RFC 3986 section 2).
_PATH = re.compile(rb'/[!"$->@-~]*')
_QUERY = re.compile(rb'[!"$-~]*')
_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
#: What no segment may hold once it is decoded: separators, ends and parameters in disguise, control characters, what
#: was no UTF-8, and `%`, which makes another path for who decodes twice.
_AMBIGUOUS = re.compile(r"[/\\?#;%\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def is_ambiguous(path: str, raw_path: bytes | None, query: bytes) -> bool:
    """Whether two servers could read it differently: the path, decoded once, as the one that came, if that is known."""
    if len(raw_path or path) + len(query) >= BYTES_MAX or not _QUERY.fullmatch(query):
        return True
    if not path.startswith("/") or is_any_ambiguous(path[1:].split("/")):
        return True
    if raw_path is None:
        # What was no UTF-8 became this.
        return "\ufffd" in path
    if not _PATH.fullmatch(raw_path) or _PERCENT.search(raw_path):
        return True
    try:
        return is_any_ambiguous([unquote_to_bytes(part).decode() for part in raw_path[1:].split(b"/")])
    except UnicodeDecodeError:
        return True


def is_any_ambiguous(segments: list[str]) -> bool:
    """The same of a path's segments, decoded once. The last one alone may be empty: the path ends in a slash."""
    return "" in segments[:-1] or any(text in (".", "..") or _AMBIGUOUS.search(text) for text in segments)
