-- A load asks which entries wait for the visits that it accepts. By hash: a refused id may be longer than a tree's key.
CREATE INDEX quarantine_by_visit ON quarantine USING hash (visit_key)
