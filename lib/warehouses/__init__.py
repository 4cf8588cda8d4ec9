"""The kinds of warehouse, one module each behind one interface (interface.py); lib/warehouse.py chooses among them."""
