-- Which tables and views are a read model's: a rebuild replaces them, whatever the next version has.

ALTER TABLE read_model ADD COLUMN relations text[] NOT NULL DEFAULT '{}';
UPDATE read_model SET relations = CASE name
    WHEN 'badges' THEN ARRAY['badge', 'badge_status']
    WHEN 'catalogue' THEN ARRAY['institution', 'module', 'module_version']
    ELSE relations
END;
