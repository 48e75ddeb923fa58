-- What a list goes on showing otherwise than answers by id do costs fewer and fewer requests, and what lists say counts
-- before a deletion is carried out.

create table argos.id_checks (
    project_id    text        not null,
    submission_id text        not null,
    checked_at    timestamptz not null,
    in_vain       integer     not null,
    not_before    timestamptz not null,
    answered_at   timestamptz,
    primary key (project_id, submission_id),
    foreign key (project_id, submission_id) references argos.submissions on delete cascade
);
comment on table argos.id_checks is 'Submissions that were read by id because of what lists show of them; an erasure removes the row.';
comment on column argos.id_checks.project_id is 'The project; see argos.projects.';
comment on column argos.id_checks.submission_id is 'The vendor''s id of the submission.';
comment on column argos.id_checks.checked_at is 'When that was last.';
comment on column argos.id_checks.in_vain is 'How often in a row nothing came of it.';
comment on column argos.id_checks.not_before is 'No list has it read by id again before this moment.';
comment on column argos.id_checks.answered_at is 'When an answer by id first showed it, as more than what is left of a deleted one, since fields of it were erased; null: not yet. From then on lists may bring back fields that answers by id never show.';

alter table argos.erasures
    add column lacked_at timestamptz;
comment on column argos.erasures.lacked_at is 'When a list last lacked it, to within ten minutes; null: no list did since it was noticed.';
