-- The function `append` (append.sql) is given the time of the process that calls it. This one was not.

DROP FUNCTION IF EXISTS append(append_row[], text[], bigint[]);
