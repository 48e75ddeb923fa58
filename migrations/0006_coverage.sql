-- What auditors and operators ask: which days were not read, and what failed last.

-- ---------------------------------------------------------------------------------------------------------------
-- Coverage before the first day that holds anything

alter table argos.projects
    -- The last complete walk from the earliest day there can be (2000-01-01). It gets rows in created_days only from the
    -- first day that holds anything, but it covers all days up to its last one.
    add column early_walked_at timestamptz,
    add column early_walked_to date;
comment on column argos.projects.fully_walked_at is 'Send time of the first request of the last complete walk without dates: it covers every day up to its own.';
comment on column argos.projects.early_walked_at is 'The same of the last complete walk with dates from 2000-01-01 on, before which nothing can be: it covers every day up to early_walked_to.';
comment on column argos.projects.early_walked_to is 'The last day of that walk.';

-- Not strict: an argument that is null would give no rows, which reads as "no gaps".
create function argos.coverage_gaps(project text, from_day date, to_day date, max_age interval)
returns table (day date, covered_at timestamptz, age interval)
language plpgsql
stable
security invoker
-- Nothing is looked up but what stands here with its schema, and pg_catalog.
set search_path = ''
as $$
declare
    -- The database's clock, as for leases: the question is asked in SQL.
    asked_at constant timestamptz := clock_timestamp();
    today    constant date := (asked_at at time zone 'UTC')::date;
    known    argos.projects;
begin
    if project is null or from_day is null or to_day is null or max_age is null then
        raise exception 'coverage_gaps: no argument may be null' using errcode = 'null_value_not_allowed';
    end if;
    if not isfinite(from_day) or not isfinite(to_day) then
        raise exception 'coverage_gaps: from_day and to_day must be days of the calendar'
            using errcode = 'invalid_parameter_value';
    end if;
    if from_day > to_day then
        raise exception 'coverage_gaps: from_day (%) lies after to_day (%)', from_day, to_day
            using errcode = 'invalid_parameter_value';
    end if;
    if max_age < interval '0' then
        raise exception 'coverage_gaps: max_age (%) is negative', max_age using errcode = 'invalid_parameter_value';
    end if;
    select * into known from argos.projects p where p.project_id = project;
    if not found then
        raise exception 'coverage_gaps: there is no project %', quote_literal(project)
            using errcode = 'invalid_parameter_value', hint = 'select project_id from argos.projects';
    end if;
    return query
        select asked.day, covered.at, asked_at - covered.at
          from (select from_day + n as day from generate_series(0, least(to_day, today) - from_day) n) asked
          left join argos.created_days d on d.project_id = project and d.day = asked.day
         -- greatest() leaves nulls out.
         cross join lateral (select greatest(
                   d.covered_at,
                   case when asked.day <= (known.fully_walked_at at time zone 'UTC')::date
                        then known.fully_walked_at end,
                   case when asked.day <= known.early_walked_to then known.early_walked_at end)) covered (at)
         where covered.at is null or covered.at < asked_at - max_age
         order by asked.day;
end
$$;
comment on function argos.coverage_gaps(text, date, date, interval) is 'The created-days (UTC) from from_day to to_day, both included, that were not completely read within max_age before now; no rows: all were. covered_at: as of when the day was last read completely, null: never. Days in the future are left out. An unknown project, a null, and from_day after to_day are errors. See docs/coverage.md.';
-- As with the tables: who may ask is granted.
revoke all on function argos.coverage_gaps(text, date, date, interval) from public;

-- ---------------------------------------------------------------------------------------------------------------
-- For argos-sync status

alter table argos.walks
    -- completed_at is null while a walk is in progress; this stays.
    add column last_completed_at timestamptz;
update argos.walks set last_completed_at = completed_at;
comment on column argos.walks.completed_at is 'When the walk in this row came to its end; null: it is in progress.';
comment on column argos.walks.last_completed_at is 'When a walk of the lane last came to its end.';

create table argos.errors (
    project_id text        not null references argos.projects,
    lane       text        not null,
    kind       text        not null,
    message    text        not null,
    advice     text        not null,
    first_at   timestamptz not null,
    last_at    timestamptz not null,
    count      bigint      not null,
    ended_at   timestamptz,
    primary key (project_id, lane)
);
comment on table argos.errors is 'The last error of each lane, without personal data. Written by the leader: at once when the kind changes, else at most once a minute.';
comment on column argos.errors.kind is 'key_refused, timed_out, database ...: the kind of the log line.';
comment on column argos.errors.advice is 'What to do, in a sentence.';
comment on column argos.errors.first_at is 'When it came up; it has been of this kind since.';
comment on column argos.errors.count is 'How often since then.';
comment on column argos.errors.ended_at is 'When the lane next read something well; null: the error lasts.';
