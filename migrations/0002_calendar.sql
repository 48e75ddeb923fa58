-- The calendar of created-days, walks in several lanes, and what single submissions are to be read for.

-- ---------------------------------------------------------------------------------------------------------------
-- Projects

alter table argos.projects
    -- The import's first day (0001-01-01: everything, without dates) and its last (null: up to now). Wanting an earlier
    -- first day later begins another import, of the days in between.
    add column import_from date,
    add column import_to   date,
    -- Submissions per page, measured on the last walk of several pages: the vendor may give less than it is asked for.
    add column page_items double precision,
    -- What is asked for per page while it is less than api.count, because larger pages failed.
    add column page_count integer;

-- ---------------------------------------------------------------------------------------------------------------
-- The calendar

alter table argos.created_days
    alter column covered_at drop not null,
    -- Kept in the transaction that writes the submissions.
    add column submissions     bigint not null default 0,
    add column open            bigint not null default 0,
    -- When its open submissions were last asked for, by walking the day or by id: the send time of the first request.
    add column open_checked_at timestamptz,
    -- Set when a complete walk did not show all that is stored: the day is walked again, and ids are collected.
    add column verify_since    timestamptz;
comment on column argos.created_days.submissions is 'Submissions of this day that the vendor has.';
comment on column argos.created_days.open is 'Those of them that are incomplete or pending.';

alter table argos.submissions
    -- The request that first showed it, counted over lease epochs: (lease_epoch << 32) + request_no. What a walk must
    -- show is what was stored before the walk's first request.
    add column first_request bigint not null,
    -- The vendor confirmed twice, by id, that the submission is gone.
    add column gone_at       timestamptz;
-- Each walk compares what it saw with what is stored of its days; nothing but this index is read for that.
drop index argos.submissions_created_day;
create index submissions_created_day on argos.submissions (project_id, created_day)
    include (submission_id, first_request, kyc_result, gone_at, created_at);

-- ---------------------------------------------------------------------------------------------------------------
-- Walks

alter table argos.walks
    -- Its first request; see argos.submissions.first_request.
    add column first_request bigint not null default 0,
    -- Per created-day, how many ids it showed and the exclusive or of their hashes; see domain::seen.
    add column seen          bytea  not null default '',
    -- A round over the open submissions of its day, by id: cursor_id is the last one asked for.
    add column by_id         boolean not null default false;

-- The ids that a walk of the lane verify has seen.
create table argos.walk_ids (
    project_id    text not null references argos.projects,
    submission_id text not null,
    primary key (project_id, submission_id)
);

-- ---------------------------------------------------------------------------------------------------------------
-- Single submissions

create table argos.id_reads (
    project_id    text        not null references argos.projects,
    submission_id text        not null,
    reason        text        not null,
    requested_at  timestamptz not null,
    primary key (project_id, submission_id)
);
create index id_reads_requested_at on argos.id_reads (project_id, requested_at);
comment on table argos.id_reads is 'Submissions to be read by id as soon as the budget allows; a row goes when that is done.';
comment on column argos.id_reads.reason is 'refresh: somebody asked. lag: a list showed an older state. reappeared: a list showed what is gone or erased. details: lists lack fields. no_date: its created_at cannot be read.';
