-- Where nothing but badges was recorded since a decision, nobody looks for what it relied on stream by
-- stream: the function `append` (append.sql) finds the last event that is no badge's by an index that only
-- this question can use, so that no plan walks through the badges for it.

CREATE INDEX event_last_relied_on ON event ((-position)) WHERE type NOT LIKE 'badge.%';
