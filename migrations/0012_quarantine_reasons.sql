-- The reasons that have come since the table was made.

comment on column argos.quarantine.reason is 'no_id, too_large, too_many_values, too_deep, too_many_children, numbers_too_long, not_json, refused_by_database.';
