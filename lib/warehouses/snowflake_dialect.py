"""How names and texts are written in Snowflake: a name in quotes is the one that is stored for it without them."""

from __future__ import annotations

from lib.warehouses.cloud import Dialect

DIALECT = Dialect(
    name=lambda name: f'"{name.upper()}"',
    escapes=(("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0")),
)
