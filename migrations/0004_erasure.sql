-- Two views of a submission, and what is done when the vendor deletes something.

-- ---------------------------------------------------------------------------------------------------------------
-- Views

alter table argos.submission_views
    -- An item whose change was held leaves no hash, but what its view has shown is known all the same.
    alter column body_hash drop not null,
    -- Names of the fields that this view has shown of this submission; null: every field of the stored item.
    add column shown text[];
comment on column argos.submission_views.shown is 'Fields that this view has shown of this submission, named as in submission_versions.changed; null: every field of the stored item. A field that is absent counts as removed only if the same view has shown it.';

create table argos.view_fields (
    project_id    text        not null references argos.projects,
    view          text        not null,
    field         text        not null,
    first_seen_at timestamptz not null,
    primary key (project_id, view, field)
);
comment on table argos.view_fields is 'Fields that a view has ever shown in a project: what it could show of a submission.';

alter table argos.submissions
    -- Whether its first sight was history, so that what only another view shows of it is history too.
    add column history        boolean not null default false,
    -- Names of the fields whose removal was carried out: a list that still shows one does not bring it back.
    add column removed_fields text[];
update argos.submissions s
   set history = true
  from argos.submission_versions v
 where v.project_id = s.project_id and v.submission_id = s.submission_id and v.version = 1 and v.cause = 'history';
comment on column argos.submissions.changed_at is 'When the last change of the vendor''s state was seen. A version that only adds what an earlier view could not show moves observed_at alone.';
comment on column argos.submissions.history is 'Whether it was older than the import when it was first seen.';
comment on column argos.submissions.removed_fields is 'Fields that the vendor removed and that were erased here (or marked, with erasure.mode = "hold").';

comment on column argos.submission_versions.item is 'The item at this version: as it was sent, what its view cannot show kept from the version before. Reduced when the submission is erased.';
comment on table argos.submission_versions is 'Every state seen, in order. Rows are only ever inserted; an erasure reduces their items.';
comment on column argos.submission_versions.cause is 'news (first seen, created since the import began), history (first seen, older), change, view (only what an earlier view could not show), erased (gone or blanked), removed (single fields), reappeared.';
comment on column argos.submission_versions.lane is 'Which walk saw it: hot, open, sweep, backfill, once, verify, refresh, confirm, canary.';
comment on table argos.outbox is 'One row per event, inserted in the transaction that writes what it tells. Rows are never updated, with one exception: an erasure takes userid out of the payloads that events.include_userid put it into. Columns id, aggregatetype, aggregateid, type and payload are those of the Debezium outbox event router.';

-- ---------------------------------------------------------------------------------------------------------------
-- Whose data this is

alter table argos.projects
    -- Keyed hash of server, key and dialect last used; null: the next ones are accepted as they are.
    add column source bytea;

-- ---------------------------------------------------------------------------------------------------------------
-- Erasure

-- A row is a suspicion; it goes when it is refuted, and when it is carried out (a receipt stays then).
create table argos.erasures (
    project_id    text          not null references argos.projects,
    submission_id text          not null,
    kind          text          not null check (kind in ('gone', 'blanked', 'fields')),
    -- What the vendor no longer shows; empty for a submission that is gone.
    fields        text[]        not null default '{}',
    lane          text          not null,
    noticed_at    timestamptz   not null,
    -- When the vendor confirmed it by id: at most one entry, the second confirmation carries it out.
    confirmed_at  timestamptz[] not null default '{}',
    next_check_at timestamptz   not null,
    -- An operator looked at a mass of them and said that they are meant: it no longer counts against the cap.
    released_at   timestamptz,
    primary key (project_id, submission_id)
);
create index erasures_next_check_at on argos.erasures (project_id, next_check_at);
comment on table argos.erasures is 'Submissions that seem to be deleted by the vendor, wholly or in part, and are not confirmed yet.';
comment on column argos.erasures.kind is 'gone: no longer shown. blanked: only id, date, result and type of document are left. fields: single fields were removed.';

create table argos.erasure_holds (
    project_id text        primary key references argos.projects,
    since      timestamptz not null,
    -- How many suspicions there were, of how many submissions, when the hold began.
    suspicions  bigint     not null,
    submissions bigint     not null
);
comment on table argos.erasure_holds is 'Projects whose erasures wait for an operator: too much vanished at once. Nothing else waits.';

create table argos.erasure_receipts (
    project_id        text          not null,
    submission_id     text          not null,
    version           bigint        not null,
    kind              text          not null,
    mode              text          not null,
    fields            text[]        not null,
    noticed_at        timestamptz   not null,
    confirmed_at      timestamptz[] not null,
    executed_at       timestamptz   not null,
    versions_touched  bigint        not null,
    digest            bytea         not null,
    -- The vendor shows it again since then: applying the receipt to a restored backup would be wrong.
    reappeared_at     timestamptz,
    primary key (project_id, submission_id, version)
);
create index erasure_receipts_executed_at on argos.erasure_receipts (executed_at);
comment on table argos.erasure_receipts is 'What was erased, and when; no personal data. Export it, so that it can be applied after a backup was restored.';
comment on column argos.erasure_receipts.version is 'The version that the erasure wrote.';
comment on column argos.erasure_receipts.mode is 'erase: personal data was removed. hold: it was kept and marked.';
comment on column argos.erasure_receipts.digest is 'Keyed hash of the receipt: tells whether it was altered.';
