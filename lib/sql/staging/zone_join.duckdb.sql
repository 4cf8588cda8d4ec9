-- The zone's offset at a local time: of the last step before it.
ASOF LEFT JOIN zone_steps AS z ON p.local_stamp >= z.local_from
