-- What every table and column is for, and one rule that stood in two languages.

-- The same rule as domain::submission::is_known_aml_status: a test compares the two. The characters are those that Unicode
-- calls white space: a Red Flag must not be missed for the sake of a tab behind it.
create function argos.is_known_aml_status(status text) returns boolean
language sql
immutable
parallel safe
return lower(btrim(status,
                   E'\u0009\u000a\u000b\u000c\u000d\u0020\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006'
                   '\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000')) = 'red flag'
       or status = 'Not Screened';
comment on function argos.is_known_aml_status(text) is 'Whether an aml.currentstatus is one that the vendor documents: Red Flag, in whatever case and with whatever white space around it, or Not Screened.';

drop index argos.submissions_unknown_aml;
-- A status that is no text stands in the item alone.
create index submissions_unknown_aml on argos.submissions (project_id)
    where gone_at is null
      and not argos.is_known_aml_status(coalesce(aml_currentstatus, item #>> '{aml,currentstatus}'));

-- ---------------------------------------------------------------------------------------------------------------
-- Comments: those that were missing, and those that a later migration had made incomplete

comment on table argos.secret is 'The key of all hashes. Only the daemon reads it.';
comment on column argos.secret.only_row is 'Always true: the table has one row.';
comment on column argos.secret.hash_secret is '32 bytes. With another key, the same history gives other ids.';
comment on table argos.compatibility is 'Which binaries may write here.';
comment on column argos.compatibility.only_row is 'Always true: the table has one row.';
comment on column argos.compatibility.min_writer is 'The smallest writer generation that may write. A binary of a smaller one refuses.';

comment on column argos.projects.project_id is 'api.project_id: never changes, and is part of every id.';
comment on column argos.projects.name is 'The display name, as the settings have it.';
comment on column argos.projects.import_started_at is 'When the project was first seen. What was created before this moment, on a day that was never completely read, is history and not news.';
comment on column argos.projects.import_number is 'Counts the imports, from 1; part of the id of project.import_completed.';
comment on column argos.projects.import_completed_at is 'When the import came to its end; null: it has not.';
comment on column argos.projects.import_from is 'The first day of the import. 0001-01-01: everything, without dates. Null: no process has said so yet.';
comment on column argos.projects.import_to is 'Its last day; null: up to now.';
comment on column argos.projects.page_items is 'Submissions per page, as measured on the last walk of several pages; null: not measured yet.';
comment on column argos.projects.page_count is 'What is asked for per page while that is less than api.count, because larger pages failed; null: api.count.';
comment on column argos.projects.source is 'Keyed hash of the server, key and dialect that were last used; null: the next ones are accepted as they are.';
comment on column argos.leases.project_id is 'The project; see argos.projects.';
comment on column argos.leases.holder is 'Who may write (lease.holder); null: nobody.';
comment on column argos.leases.epoch is 'Counts the changes of holder. A former holder''s epoch matches nothing.';
comment on column argos.leases.expires_at is 'Until when, by the database''s clock, unless it is renewed.';
comment on column argos.counters.project_id is 'The project; see argos.projects.';
comment on column argos.counters.name is 'submissions, red_flags_open or red_flags_raised.';
comment on column argos.counters.label is 'For submissions the kyc.result (none: there is none), else empty.';
comment on column argos.counters.value is 'The count.';
comment on column argos.request_budget.project_id is 'The project; see argos.projects.';
comment on column argos.request_budget.day is 'The UTC day, by the database''s clock.';
comment on column argos.request_budget.reserved is 'Requests that processes have taken for themselves on this day.';

comment on table argos.created_days is 'The created-days (UTC) of a project: what is stored of each, and as of when it was last read completely. A day without a row holds nothing.';
comment on column argos.created_days.project_id is 'The project; see argos.projects.';
comment on column argos.created_days.day is 'Day (UTC) of created_at.';
comment on column argos.created_days.covered_at is 'The send time of the first request of the last complete walk with dates over this day; null: there was none. Walks without dates, and before the first day that holds anything, stand in argos.projects.';
comment on column argos.created_days.open_checked_at is 'As of when its open submissions were last all asked for; null: never.';
comment on column argos.created_days.verify_since is 'Since when it waits to be walked again, because a complete walk did not show all that is stored; null: it does not.';
comment on column argos.walks.project_id is 'The project; see argos.projects.';
comment on column argos.walks.lane is 'hot, open, sweep, backfill, once, verify.';
comment on column argos.walks.source is 'Keyed hash of server, key, dialect and mode of dates: the list that the cursor belongs to.';
comment on column argos.walks.from_day is 'The first day that it covers; null: all days, without dates.';
comment on column argos.walks.to_day is 'The last day that it covers.';
comment on column argos.walks.started_at is 'Send time of its first request.';
comment on column argos.walks.cursor_id is 'The vendor''s nextpageKey, byte for byte: its id; null before the first page. In a round by id: the last submission that was asked for.';
comment on column argos.walks.cursor_date is 'The date of the vendor''s nextpageKey, byte for byte.';
comment on column argos.walks.pages is 'Pages (in a round by id: submissions) that were committed.';
comment on column argos.walks.items is 'Items on them.';
comment on column argos.walks.first_request is 'Its first request, counted as in argos.submissions.first_request.';
comment on column argos.walks.seen is 'How many submissions of each created-day it has shown, and the exclusive or of the hashes of their ids.';
comment on column argos.walks.by_id is 'Whether it asks for the open submissions of its day one by one.';
comment on table argos.walk_ids is 'The submissions that the walk of the lane verify has shown so far.';
comment on column argos.walk_ids.project_id is 'The project; see argos.projects.';
comment on column argos.walk_ids.submission_id is 'The vendor''s id of the submission.';
comment on column argos.id_reads.project_id is 'The project; see argos.projects.';
comment on column argos.id_reads.submission_id is 'The vendor''s id of the submission.';
comment on column argos.id_reads.requested_at is 'Since when it waits.';
comment on column argos.errors.project_id is 'The project; see argos.projects.';
comment on column argos.errors.lane is 'The lane that fails.';
comment on column argos.errors.message is 'What happened, without personal data.';
comment on column argos.errors.last_at is 'When it was last met.';
comment on column argos.probes.project_id is 'The project; see argos.projects.';
comment on column argos.probes.fact is 'What was asked; docs/modes.md lists the facts.';
comment on column argos.probes.value is 'What was found; "unclear": nothing certain.';
comment on column argos.probes.evidence is 'What says so: numbers and codes, no personal data.';
comment on column argos.probes.settled is 'The last value that was not "unclear": a change of mode is told against this one.';
comment on column argos.probes.previous is 'What it was before the last change of mode; null: it never changed.';
comment on column argos.probes.changed_at is 'When the last change of mode was found.';
comment on column argos.drift.project_id is 'The project; see argos.projects.';
comment on column argos.drift.first_seen_at is 'When it was first met.';
comment on column argos.drift.last_seen_at is 'When it was last met.';

comment on column argos.submissions.project_id is 'The project; see argos.projects.';
comment on column argos.submissions.submission_id is 'submission_id: the vendor''s id, opaque';
comment on column argos.submissions.first_request is 'The request that first showed it: (lease epoch << 32) + number of the request. A walk must show what was stored before its own first request.';
comment on column argos.submissions.gone_at is 'When the vendor confirmed for the second time, by id, that it is gone; null: it is there.';
comment on column argos.submissions.item is 'The whole item: what the last answer showed, unknown fields included, and what its view cannot show from the version before. Expiring links in it are those of the version''s first reading. Reduced when the submission is erased.';
comment on column argos.attempts.project_id is 'The project; see argos.projects.';
comment on column argos.attempts.submission_id is 'The vendor''s id of the submission.';
comment on column argos.aml_matches.project_id is 'The project; see argos.projects.';
comment on column argos.aml_matches.submission_id is 'The vendor''s id of the submission.';
comment on column argos.bank_verifications.project_id is 'The project; see argos.projects.';
comment on column argos.bank_verifications.submission_id is 'The vendor''s id of the submission.';
comment on column argos.applicants.project_id is 'The project; see argos.projects.';
comment on column argos.applicants.submission_id is 'The vendor''s id of the submission.';
comment on column argos.applicants.applicant_name is 'data.full_name, data.name, or first, middle and last name, whichever was sent.';
comment on column argos.applicants.date_of_birth is 'data.date_of_birth';
comment on column argos.applicants.gender is 'data.gender';
comment on column argos.applicants.nationality is 'data.nationality';
comment on column argos.applicants.email is 'email';
comment on column argos.applicants.userid is 'userid';
comment on column argos.applicants.applicant_id is 'applicant_id';
comment on column argos.applicants.kyc_result is 'kyc.result';
comment on column argos.applicants.aml_currentstatus is 'aml.currentstatus';
comment on table argos.submission_views is 'What each view has shown of a submission, and the keyed hash of the raw item: what did not change since is skipped without decoding it.';
comment on column argos.submission_views.project_id is 'The project; see argos.projects.';
comment on column argos.submission_views.submission_id is 'The vendor''s id of the submission.';
comment on column argos.submission_views.view is 'list: an item of a page. id: read by submission_id. aml: an item of a page of screenings.';
comment on column argos.submission_views.version is 'The version that the hash was taken at. It is void at any other one.';
comment on column argos.submission_views.body_hash is 'Keyed hash of the raw item; null: it is to be looked at again.';
comment on column argos.view_fields.project_id is 'The project; see argos.projects.';
comment on column argos.view_fields.view is 'list, id or aml.';
comment on column argos.view_fields.field is 'The name of a field, as in submission_versions.changed.';
comment on column argos.view_fields.first_seen_at is 'When the view first showed it.';

comment on table argos.submission_versions is 'Every state seen, in order. Rows are only ever inserted and stay for ever. Their items are reduced by an erasure, and emptied by retention.versions once another state has long replaced them.';
comment on column argos.submission_versions.project_id is 'The project; see argos.projects.';
comment on column argos.submission_versions.submission_id is 'The vendor''s id of the submission.';
comment on column argos.submission_versions.version is 'Counts the states of the submission, from 1.';
comment on column argos.submission_versions.item is 'The item at this version: as it was sent, what its view cannot show kept from the version before. Reduced when the submission is erased. Null: emptied by retention.versions; never that of the current version.';
comment on column argos.submission_versions.view is 'In which view it was seen. list: an item of a page. id: read by submission_id. aml: an item of a page of screenings.';
comment on column argos.submission_versions.request_no is 'The number of the request within the lease epoch. Answers are applied in this order.';
comment on column argos.submission_versions.observed_at is 'When the answer that showed this state was complete.';
comment on table argos.outbox_counter is 'Where positions in the outbox come from. This row is locked last in each transaction, so the order of positions is the order of commits.';
comment on column argos.outbox_counter.only_row is 'Always true: the table has one row.';
comment on column argos.outbox_counter.last_position is 'The last position that was given out.';
comment on table argos.outbox is 'One row per event, inserted in the transaction that writes what it tells. Rows are never updated, with one exception: an erasure takes userid out of the payloads that events.include_userid put it into. retention.outbox deletes the oldest of a project. Columns id, aggregatetype, aggregateid, type and payload are those of the Debezium outbox event router.';
comment on column argos.outbox.aggregatetype is 'submission or project.';
comment on column argos.outbox.type is 'The type of the event: submission.created, kyc.result_changed ...; docs/events/ lists them.';
comment on column argos.outbox.payload is 'What happened, as docs/events/ says for each type. No personal data by default.';
comment on column argos.outbox.project_id is 'The project; see argos.projects.';
comment on column argos.outbox.submission_id is 'The vendor''s id of the submission; null: the event is the project''s.';
comment on column argos.outbox.version is 'The version that the event tells of; null: the event is the project''s.';
comment on column argos.outbox.recorded_at is 'When it was written.';
comment on column argos.quarantine.project_id is 'The project; see argos.projects.';
comment on column argos.quarantine.body_hash is 'Keyed hash of the item''s bytes: a repeat writes nothing.';
comment on column argos.quarantine.submission_id is 'Its id; null: it has no usable one.';
comment on column argos.quarantine.detail is 'The reason in a sentence, without data.';
comment on column argos.quarantine.body is 'Its bytes, the first limits.item_bytes of them: personal data.';
comment on column argos.quarantine.view is 'In which view it was seen.';
comment on column argos.quarantine.lane is 'Which walk saw it.';
comment on column argos.quarantine.first_seen_at is 'When it was first seen.';
comment on column argos.quarantine.expires_at is 'When it is deleted (retention.quarantine).';

comment on column argos.erasures.project_id is 'The project; see argos.projects.';
comment on column argos.erasures.submission_id is 'The vendor''s id of the submission.';
comment on column argos.erasures.fields is 'What the vendor no longer shows, named as in submission_versions.changed; empty: the submission is gone.';
comment on column argos.erasures.lane is 'Which walk noticed it.';
comment on column argos.erasures.noticed_at is 'When it was noticed.';
comment on column argos.erasures.confirmed_at is 'When the vendor confirmed it by id. The second confirmation carries it out.';
comment on column argos.erasures.next_check_at is 'When it is looked at next.';
comment on column argos.erasures.released_at is 'When an operator said that it is meant; null: nobody did. It no longer counts against the cap then.';
comment on column argos.erasure_holds.project_id is 'The project; see argos.projects.';
comment on column argos.erasure_holds.since is 'Since when.';
comment on column argos.erasure_holds.suspicions is 'Suspicions when the hold began.';
comment on column argos.erasure_holds.submissions is 'Submissions in the mirror then.';
comment on column argos.erasure_receipts.project_id is 'The project; see argos.projects.';
comment on column argos.erasure_receipts.submission_id is 'The vendor''s id of the submission.';
comment on column argos.erasure_receipts.kind is 'gone, blanked or fields; see argos.erasures.';
comment on column argos.erasure_receipts.fields is 'What was erased, named as in submission_versions.changed.';
comment on column argos.erasure_receipts.noticed_at is 'When it was noticed that the vendor no longer shows it.';
comment on column argos.erasure_receipts.confirmed_at is 'When the vendor confirmed it by id.';
comment on column argos.erasure_receipts.executed_at is 'When it was carried out.';
comment on column argos.erasure_receipts.versions_touched is 'How many older versions were looked through.';
comment on column argos.erasure_receipts.reappeared_at is 'Since when the vendor shows it again: applying the receipt to a restored backup would be wrong then; null: it does not.';
