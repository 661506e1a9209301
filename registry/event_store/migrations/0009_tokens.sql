-- The day, in UTC, on which a token was last used. A serving process writes it, at most once a day.

ALTER TABLE token ADD COLUMN last_used_on date;
GRANT SELECT (id, last_used_on), UPDATE (last_used_on) ON token TO registry_write;
