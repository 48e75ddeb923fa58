-- What lists lack is read in other ways.

alter table argos.walks
    -- A walk reads its days as lists first. Where lists carry no aml, it reads the same days again as pages of screenings.
    add column view text not null default 'list';
comment on column argos.walks.view is 'What the walk reads now. list: whole items. aml: pages of request_type=aml, after the list was complete. id: single submissions.';

-- Somebody waits for all others; where lists lack fields, every submission may wait.
create index id_reads_next on argos.id_reads (project_id, (reason = 'details'), requested_at, submission_id);
