"""What may be kept in the durable dict of a deployment: JSON, bounded."""

from __future__ import annotations

import json
from typing import Any

from nova.errors import UsageProblem

MOST_BYTES = 1_000_000
_MOST_KEY_CHARS = 250


def encode(key: str, value: Any) -> str:
    """As JSON; UsageProblem for what is none, or is too large."""
    if not isinstance(key, str) or not 0 < len(key) <= _MOST_KEY_CHARS:
        raise UsageProblem(f"a key of the state is a text of 1 to {_MOST_KEY_CHARS} characters, not {str(key)[:40]!r}")
    try:
        encoded = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageProblem(f"the state {key!r} cannot be kept as JSON: {error}") from None
    if len(encoded) > MOST_BYTES:
        raise UsageProblem(
            f"the state {key!r} has {len(encoded)} bytes; at most {MOST_BYTES} are kept",
            hint="keep large data in a file and its path in the state",
        )
    return encoded
