-- Appends whole units: each unit gets all its rows, or is named in `conflicts` because another writer was
-- first with a stream's version or an alias. Where a stream that a decision relied on has changed since the
-- position at which it was read, nothing is appended, and `changed` names it with its last position.
-- Answers JSON {last, conflicts, changed}: appended rows have the positions after `last`, in order.
--
-- The advisory lock (registry/postgres/locks.py) orders all writers and is taken before any row: positions
-- are gapless, and nothing ever becomes visible below a position that is visible already. The lock is held
-- within this one statement and its commit only, never while the server waits for a client.
--
-- Where `rows` is NULL the rows lie in the session's temporary table `staged`, which has the columns of
-- append_row. The two INSERTs differ in that alone: a statement that names `staged` has it emptied at each
-- commit, which took a third of the time of a small append.
--
-- Refuses with SQLSTATE RG001, and appends nothing, while the clocks differ by more than 5 seconds or the last
-- event lies more than 5 seconds in the future: a time in the log can never be repaired.
--
-- `registry migrate` installs this file whenever it runs. Processes of the release before call the function
-- too: its signature and answer stay as they are.
CREATE OR REPLACE FUNCTION append(
    rows append_row[], relied_on text[], read_at bigint[], process_time timestamptz
) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
    last_time timestamptz;
    last_relied_on bigint;
    now_ timestamptz;
    changed json;
    conflicts integer[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(4201);
    SELECT e.position, e.time INTO last, last_time FROM event e ORDER BY e.position DESC LIMIT 1;
    -- The statement's own time, since the process took its time before this one waited for the lock.
    IF statement_timestamp() NOT BETWEEN process_time - interval '5 s' AND process_time + interval '5 s' THEN
        RAISE EXCEPTION 'the clocks of the process and of PostgreSQL differ' USING ERRCODE = 'RG001';
    ELSIF last_time > clock_timestamp() + interval '5 s' THEN
        RAISE EXCEPTION 'the last event lies in the future' USING ERRCODE = 'RG001';
    END IF;
    last := coalesce(last, 0);
    now_ := greatest(clock_timestamp(), last_time);
    SELECT e.position INTO last_relied_on
    FROM event e WHERE e.type NOT LIKE 'badge.%' ORDER BY -e.position LIMIT 1;
    IF last_relied_on > (SELECT min(each) FROM unnest(read_at) AS each) THEN
        SELECT json_object_agg(subject, position) INTO changed FROM (
            SELECT e.subject, max(e.position) AS position
            FROM event e JOIN unnest(relied_on, read_at) AS r(subject, since) USING (subject)
            WHERE e.position > (SELECT min(each) FROM unnest(read_at) AS each)
                AND e.type NOT LIKE 'badge.%' AND e.position > r.since
            GROUP BY e.subject
        ) AS later;
    END IF;
    WHILE changed IS NULL LOOP
        BEGIN
            IF rows IS NULL THEN
                WITH placed AS (
                    SELECT last + row_number() OVER () AS position, r.*
                    FROM staged r WHERE r.unit <> ALL (conflicts)
                ), recorded AS (
                    INSERT INTO event (position, subject, version, type, schema_version, time, data)
                    SELECT position, subject, version, type, schema_version, now_, data FROM placed
                ), sealed AS (
                    INSERT INTO vault (position, institution, learner_id, sealed)
                    SELECT position, institution, learner_id, p.sealed FROM placed p WHERE p.sealed IS NOT NULL
                )
                INSERT INTO alias (key, learner_id)
                SELECT alias_key, learner_id FROM placed WHERE alias_key IS NOT NULL;
            ELSE
                WITH placed AS (
                    SELECT last + row_number() OVER () AS position, r.*
                    FROM unnest(rows) r WHERE r.unit <> ALL (conflicts)
                ), recorded AS (
                    INSERT INTO event (position, subject, version, type, schema_version, time, data)
                    SELECT position, subject, version, type, schema_version, now_, data FROM placed
                ), sealed AS (
                    INSERT INTO vault (position, institution, learner_id, sealed)
                    SELECT position, institution, learner_id, p.sealed FROM placed p WHERE p.sealed IS NOT NULL
                )
                INSERT INTO alias (key, learner_id)
                SELECT alias_key, learner_id FROM placed WHERE alias_key IS NOT NULL;
            END IF;
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            IF cardinality(conflicts) > 0 THEN
                RAISE;
            END IF;
            conflicts := ARRAY(
                SELECT DISTINCT r.unit
                FROM unnest(coalesce(rows, ARRAY(SELECT row(s.*)::append_row FROM staged s))) r
                WHERE EXISTS (SELECT FROM event e WHERE e.subject = r.subject AND e.version = r.version)
                    OR EXISTS (SELECT FROM alias a WHERE a.key = r.alias_key)
            );
            IF cardinality(conflicts) = 0 THEN
                RAISE;
            END IF;
        END;
    END LOOP;
    RETURN json_build_object('last', last, 'conflicts', conflicts, 'changed', changed);
END $$;
