"""What turns snapshots into staged files: a module a kind behind one interface (interface.py); choose.py opens one."""
