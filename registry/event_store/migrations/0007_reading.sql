-- A status is read from the log beyond the read model's row, without the events that an operator had it skip.
GRANT SELECT ON intervention TO registry_read;

-- Rare types are found wherever they are: a list of revocations does not read the awards between them.
CREATE INDEX event_of_rare_type ON event (type, position) WHERE type <> 'badge.awarded';
