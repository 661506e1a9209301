-- The logins of the processes that keep running. Each can become roles of the registry and nothing else. They get
-- their passwords, or another way to prove who they are, from the operator.
--
-- `registry migrate` runs this file each time: who is whose member is the server's and not the database's, and a
-- database that was restored on another server lacks it.
DO $$
DECLARE login text; role text;
BEGIN
    FOREACH login IN ARRAY ARRAY['registry_serve', 'registry_stream'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', login);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), login);
        -- `serve` keeps the read models itself where there is no Kafka.
        FOREACH role IN ARRAY CASE login
            WHEN 'registry_serve' THEN ARRAY['registry_read', 'registry_write', 'registry_project']
            ELSE ARRAY['registry_project']
        END LOOP
            IF NOT pg_has_role(login, role, 'MEMBER') THEN
                EXECUTE format('GRANT %I TO %I', role, login);
            END IF;
        END LOOP;
    END LOOP;
END $$;

-- Each process checks at its start that the database is migrated, before it takes a role.
GRANT SELECT ON migration TO registry_serve, registry_stream;
