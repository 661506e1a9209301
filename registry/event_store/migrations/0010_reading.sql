-- A status is read from the log beyond the read model's row, without the events that an operator had it skip.
GRANT SELECT ON intervention TO registry_read;

-- An institution finds its learner by an alias. The reading role sees no alias but the one whose key it states
-- in its transaction: to state it, one must have the identifier and the alias secret.
GRANT SELECT ON alias TO registry_read;
ALTER TABLE alias ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer ON alias TO registry_write USING (true) WITH CHECK (true);
CREATE POLICY asker ON alias FOR SELECT TO registry_read USING (
    key = decode(current_setting('registry.alias_key', true), 'hex')
);

-- Rare types are found wherever they are: a list of revocations does not read the awards between them.
CREATE INDEX event_of_rare_type ON event (type, position) WHERE type <> 'badge.awarded';
