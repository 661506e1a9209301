-- The positions of a read model are kept for each partition of the log, and so is what stopped it there.

ALTER TABLE read_model_position
    ADD COLUMN stopped_at bigint,
    ADD COLUMN stopped_because text;
UPDATE read_model_position p SET stopped_at = m.stopped_at, stopped_because = m.stopped_because
FROM read_model m WHERE m.name = p.name AND m.stopped_at IS NOT NULL;
-- read_model.stopped_at and .stopped_because are left to the release before, and go with the next.

-- The topic that carries the log, once there is one: at most one row.
CREATE TABLE stream (
    topic text PRIMARY KEY,
    partitions integer NOT NULL CHECK (partitions > 0),
    relayed bigint NOT NULL DEFAULT 0,
    made_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN stream.relayed IS 'for metrics alone: the topic itself says how far it is';

-- What an operator told a read model that had stopped at an event to do. Never deleted.
CREATE TABLE intervention (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    position bigint NOT NULL,
    action text NOT NULL CHECK (action IN ('retry', 'skip')),
    because text NOT NULL,
    time timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, UPDATE (relayed) ON stream TO registry_project;
GRANT SELECT ON intervention TO registry_project;
GRANT SELECT ON stream TO registry_read;
