"""How names, texts and set operations are written in BigQuery."""

from __future__ import annotations

import re

from lib.warehouses.cloud import Dialect

DIALECT = Dialect(
    name=lambda name: f"`{name}`",
    escapes=(("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\x00")),
    words=(
        (re.compile(r"\b(UNION|EXCEPT)\b(?!\s+(?:ALL|DISTINCT)\b)"), r"\1 DISTINCT"),
        (re.compile(r"\bhash\b"), "`hash`"),
    ),
)
