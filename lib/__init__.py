"""Everything the notebooks call: one room a layer, one job a room."""

import sys

# jsonschema (imported by nbformat and Great Expectations) builds a grammar for internationalised addresses where it
# finds this package, which JupyterLab brings along. No schema here has such a field, and the grammar costs a second.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
