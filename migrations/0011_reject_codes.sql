-- How many rejected submissions have a code: counted in the page's transaction from now on, and once for those that are here.

insert into argos.counters (project_id, name, label, value)
select project_id, 'rejected', label, count(*)
  from argos.submissions,
       lateral (select distinct case when code ~ '^[A-Za-z0-9_.-]{1,64}$' then code else 'unlisted' end as label
                  from unnest(case when cardinality(kyc_comment_code) > 0 then kyc_comment_code else '{none}' end) as code) as codes
 where kyc_result = 'rejected' and gone_at is null
 group by project_id, label;

comment on table argos.counters is 'submissions (by kyc.result), rejected (by kyc.commentCode; one with two codes counts for both), red_flags_open, red_flags_raised and red_flags_escalated (by risk; without one: counted before risks were), approvals_revoked.';
comment on column argos.counters.name is 'What is counted: see the comment of the table.';
