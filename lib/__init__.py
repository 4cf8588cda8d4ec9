"""Everything the notebooks call: one room a layer, one job a room."""
