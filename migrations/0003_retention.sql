-- Retention: what has been kept long enough goes, a small batch at a time (src/store/prune.rs, docs/retention.md).

alter table argos.submission_versions alter column item drop not null;

comment on table argos.submission_versions is 'Every state seen, in order. Rows are only ever inserted and stay for ever; retention.versions empties the item of states that another one has long replaced.';
comment on column argos.submission_versions.item is 'The item as it was sent at this version; an aml that this answer had lost is kept. Null: emptied by retention.versions; never that of the current version.';
comment on table argos.outbox is 'One row per event, inserted in the transaction that writes what it tells. Rows are never updated; retention.outbox deletes a project''s oldest. Columns id, aggregatetype, aggregateid, type and payload are those of the Debezium outbox event router.';

-- A state is old when the one that replaced it is old, so pruning looks for later versions by their age. First versions
-- replace nothing and are not in here: an import, which writes nothing else, does not pay for this index, and a change
-- pays for one small entry. A BRIN would cost less still, but an emptied row moves to wherever there is room, and the
-- order on disk that a BRIN lives on is lost.
create index submission_versions_later on argos.submission_versions (project_id, observed_at) where version > 1;

-- The outbox needs no index: positions are handed out in the order of time, so its old end is the low end of the primary
-- key. The quarantine has quarantine_expires_at.
