-- Its entries are in the new table.
DROP TABLE quarantine
