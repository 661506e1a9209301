-- Two logins that can become roles of the registry and nothing else. They get their passwords, or another way
-- to prove who they are, from the operator; until then nobody can log in as either.

DO $$
DECLARE login text;
BEGIN
    FOREACH login IN ARRAY ARRAY['registry_serve', 'registry_stream'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', login);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), login);
    END LOOP;
END $$;

-- `serve` keeps the read models itself where there is no Kafka.
GRANT registry_read, registry_write, registry_project TO registry_serve;
GRANT registry_project TO registry_stream;

-- Each process checks at its start that the database is migrated, before it takes a role.
GRANT SELECT ON migration TO registry_serve, registry_stream;

-- `registry topics` and the first relay divide the log and record into how many partitions.
GRANT SELECT, INSERT, UPDATE, DELETE ON stream TO registry_project;

-- Sealed parts begin with the epoch of their key. The column follows from them: a rotation finds by it what is
-- left to seal anew. Nothing was sealed in this form before the first release, and nothing is read in another.
DO $$
BEGIN
    IF EXISTS (SELECT FROM vault) THEN
        RAISE EXCEPTION 'private parts were sealed before the first release'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END $$;
ALTER TABLE vault ADD COLUMN epoch smallint NOT NULL GENERATED ALWAYS AS (get_byte(sealed, 0)) STORED;
