-- How far each read model has come, and what stopped it. Its own tables are in projections/.

CREATE TABLE read_model (
    name text PRIMARY KEY,
    version integer NOT NULL,
    stopped_at bigint,
    stopped_because text
);

CREATE TABLE read_model_position (
    name text NOT NULL,
    source text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (name, source)
);

GRANT SELECT ON read_model, read_model_position TO registry_read;
GRANT SELECT, UPDATE ON read_model TO registry_project;
GRANT SELECT, INSERT, UPDATE, DELETE ON read_model_position TO registry_project;
