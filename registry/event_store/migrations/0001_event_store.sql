-- The event store, the vault beside it, and the three roles that work with them.

DO $$
DECLARE role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['registry_write', 'registry_read', 'registry_project'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            EXECUTE format('GRANT %I TO %I', role, current_user);
        END IF;
    END LOOP;
    EXECUTE format(
        'GRANT TEMPORARY ON DATABASE %I TO registry_write, registry_project', current_database()
    );
END $$;

GRANT USAGE ON SCHEMA public TO registry_write, registry_read, registry_project;

-- The log. Positions are gapless from 1; `data` is the one byte string of a fact, never parsed here.
CREATE TABLE event (
    position bigint PRIMARY KEY CHECK (position > 0),
    subject text NOT NULL,
    version integer NOT NULL,
    type text NOT NULL,
    schema_version smallint NOT NULL,
    time timestamptz NOT NULL,
    data bytea NOT NULL,
    UNIQUE (subject, version)
);
-- Facts are read whole and seldom compress: keep them out of the compressor.
ALTER TABLE event ALTER COLUMN data SET STORAGE EXTERNAL;
-- What decisions rely on (institutions, modules, learners) is rare among the badges.
CREATE INDEX event_relied_on ON event (position) WHERE type NOT LIKE 'badge.%';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log takes no %: what is recorded stays as it is', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER event_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The private parts of an event, sealed; deleted on the learner's erasure, unlike the event.
CREATE TABLE vault (
    position bigint PRIMARY KEY,
    institution text NOT NULL,
    learner_id uuid,
    sealed bytea NOT NULL
);
ALTER TABLE vault ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- The learner that an identifier belongs to; the key is an HMAC of the identifier.
CREATE TABLE alias (
    key bytea PRIMARY KEY,
    learner_id uuid NOT NULL
);

CREATE TABLE secret (
    name text PRIMARY KEY,
    fingerprint text NOT NULL
);

CREATE TABLE token (
    id text PRIMARY KEY,
    hash bytea NOT NULL,
    role text NOT NULL,
    institution text,
    learner_id uuid,
    name text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);

GRANT SELECT, INSERT ON event, vault, alias TO registry_write;
GRANT SELECT ON event TO registry_read, registry_project;
GRANT SELECT ON vault, token, secret TO registry_read;

-- Who asks is stated in each transaction that reads private rows: see projections/read_model.py.
ALTER TABLE vault ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer ON vault TO registry_write USING (true) WITH CHECK (true);
CREATE POLICY asker ON vault FOR SELECT TO registry_read USING (
    current_setting('registry.asker', true) IN ('institution/' || institution, 'learner/' || learner_id)
);

-- One row of a unit: an event, with the private parts and the alias that belong to it.
CREATE TYPE append_row AS (
    unit integer,
    subject text,
    version integer,
    type text,
    schema_version smallint,
    data bytea,
    institution text,
    learner_id uuid,
    sealed bytea,
    alias_key bytea
);
