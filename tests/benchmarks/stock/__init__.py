"""The peer: the stock stack, as a small reference program that does the same work as an award of ours.

FastAPI with pydantic bodies, and the eventsourcing library with its own PostgreSQL recorder on psycopg 3:
declarative aggregates, its JSON transcoder and mapper, its projection runner. An award checks a bearer
token against a table, validates the same body, meets the same badge under the same reference, refuses
what is not admitted, finds or makes the learner, commits to the private parts, seals them with AES-256-GCM,
and records event, vault row and alias in one transaction; a projection keeps the badge table.

The library's own defaults: the recorder and its EXCLUSIVE table lock, LISTEN and NOTIFY, UUID ids,
single-row tracking, one tracking transaction an event in projections, a pool of 5 to 15 connections (more
made no difference: the processor is what is short). FastAPI's: endpoints in a pool of 40 threads, response
models. Chosen in the peer's favour, where a choice is documented: the aggregate cache without fast-forward
and without copies (right for one process only), prepared statements, the token kept for a second as ours
is, uvloop and httptools, no access log. Vault and alias rows are written in the recorder's transaction
through `_insert_events`, as the library's full-text example does it.
"""
