-- How many rejected submissions have a code: counted in the page's transaction, and anew by each new writer, because the one
-- before may have been of a release that does not count them.

comment on table argos.counters is 'submissions (by kyc.result), rejected (by kyc.commentCode; one with two codes counts for both), red_flags_open, red_flags_raised and red_flags_escalated (by risk; without one: counted before risks were), approvals_revoked.';
comment on column argos.counters.name is 'What is counted: see the comment of the table.';
