-- What a person must have looked at: Red Flags, their escalations, approvals that were revoked.

create table argos.alerts (
    alert_id        uuid        primary key,
    project_id      text        not null references argos.projects,
    submission_id   text        not null,
    -- The version of the submission that raised it.
    version         bigint      not null,
    kind            text        not null check (kind in ('red_flag', 'red_flag_escalated', 'approval_revoked')),
    risk            text        not null check (risk in ('high', 'medium', 'low', 'none', 'unknown')),
    raised_at       timestamptz not null,
    imported        boolean     not null,
    cleared_at      timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    reason          text,
    -- Who, why and when, or nobody yet.
    check ((acknowledged_at is null) = (acknowledged_by is null) and (acknowledged_at is null) = (reason is null))
);
comment on table argos.alerts is 'What waits for a person, or had to: argos-sync alerts list and ack. Ids and codes only, so an erasure leaves it.';
comment on column argos.alerts.alert_id is 'Made of the version and the kind: the same fact, found again, has the same id.';
comment on column argos.alerts.kind is 'red_flag: raised, or standing at the import. red_flag_escalated: a higher risk, or more matches, while it was open. approval_revoked: approved became rejected.';
comment on column argos.alerts.risk is 'aml.risk_level_summary in small letters, else the highest risk_level of the matches. none: the vendor said none. unknown: a word that no document names.';
comment on column argos.alerts.imported is 'It stood already when the submission was first read, and that was history: listed, but not among the metrics that alert.';
comment on column argos.alerts.cleared_at is 'When the vendor cleared the flag. The row still waits for a person.';
comment on column argos.alerts.project_id is 'The project; see argos.projects.';
comment on column argos.alerts.submission_id is 'The vendor''s id of the submission.';
comment on column argos.alerts.version is 'The version of the submission that raised it.';
comment on column argos.alerts.raised_at is 'When that version was observed.';
comment on column argos.alerts.acknowledged_at is 'When a person said that it was seen to; null: it waits.';
comment on column argos.alerts.acknowledged_by is 'Who said so.';
comment on column argos.alerts.reason is 'Why, in that person''s words.';

-- The metric counts these at every poll: few rows, because somebody works on them.
create index alerts_waiting on argos.alerts (project_id, kind, risk) where acknowledged_at is null and not imported;
create index alerts_submission on argos.alerts (project_id, submission_id);

-- The flags that stand today: they were told by the events and counters before this table was here.
insert into argos.alerts (alert_id, project_id, submission_id, version, kind, risk, raised_at, imported)
select gen_random_uuid(), project_id, submission_id, version, 'red_flag',
       case when level in ('high', 'medium', 'low') then level when level in ('', 'not screened') then 'none' else 'unknown' end,
       changed_at, true
  from (select s.*, lower(btrim(coalesce(s.aml_risk_level_summary, ''))) as level
          from argos.submissions s
         where lower(btrim(s.aml_currentstatus)) = 'red flag' and s.gone_at is null) flagged;

comment on table argos.counters is 'submissions (by kyc.result), red_flags_open, red_flags_raised and red_flags_escalated (by risk; without one: counted before risks were), approvals_revoked.';

-- What has been pending for longest is asked for at every poll.
create index submissions_pending on argos.submissions (project_id, coalesce(pending_at, created_at, first_seen_at))
    where kyc_result = 'pending' and gone_at is null;
