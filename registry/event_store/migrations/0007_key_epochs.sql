-- `registry topics` and the first relay divide the log and record into how many partitions.
GRANT SELECT, INSERT, UPDATE, DELETE ON stream TO registry_project;

-- Sealed parts begin with the epoch of their key. The column follows from them: a rotation finds by it what is
-- left to seal anew.
ALTER TABLE vault ADD COLUMN epoch smallint NOT NULL GENERATED ALWAYS AS (get_byte(sealed, 0)) STORED;
