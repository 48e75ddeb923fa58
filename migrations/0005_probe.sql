-- What was found out about the vendor's ways, and what it sends that no document names.

create table argos.probes (
    project_id text        not null references argos.projects,
    fact       text        not null,
    value      jsonb       not null,
    -- Numbers and codes, no personal data.
    evidence   text        not null,
    found_at   timestamptz not null,
    -- The last value that was not "unclear": a change of mode is told against this one.
    settled    jsonb,
    -- What it was before the last change of mode, and when that was; null: it never changed.
    previous   jsonb,
    changed_at timestamptz,
    primary key (project_id, fact)
);
comment on table argos.probes is 'What the vendor''s API was found to do, by probing it at start and daily; docs/modes.md says what each fact means. The fact "probe" is the last probe itself.';
comment on column argos.probes.found_at is 'When a probe last had evidence for the value. A probe without evidence changes nothing.';

create table argos.drift (
    project_id    text        not null references argos.projects,
    kind          text        not null,
    name          text        not null,
    count         bigint      not null,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    primary key (project_id, kind, name)
);
comment on table argos.drift is 'Fields and values that no document names. Progress, not data: counted about once a minute, some 200 names per project at most.';
comment on column argos.drift.kind is 'unknown_field: name is the field''s path, two levels deep. unknown_value: name is field=value, for kyc.result and aml.currentstatus only.';
comment on column argos.drift.name is 'A name with odd characters, which may be somebody''s data, is called "other"; so is what comes after the first 200.';
comment on column argos.drift.count is 'How often an item that had to be decoded held it.';

-- The same rule as domain::submission::State::unknown_values. A status that is no text stands in the item alone.
create index submissions_unknown_aml on argos.submissions (project_id)
    where gone_at is null
      and lower(btrim(coalesce(aml_currentstatus, item #>> '{aml,currentstatus}'))) <> 'red flag'
      and coalesce(aml_currentstatus, item #>> '{aml,currentstatus}') <> 'Not Screened';
