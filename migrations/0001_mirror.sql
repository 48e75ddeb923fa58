-- The mirror, its history, the outbox, and what the sync needs to keep its place.
--
-- Vendor fields carry, as their comment, the vendor's own path (GET /submission). Numbers are `numeric` and texts are
-- `text`: the vendor's documents give no lengths and disagree on types, and a value that is too long or of another
-- type must not stop a page. A column is null when the vendor did not send the field or sent it in an unusable form;
-- the column `item` always holds what was sent.

create schema if not exists argos;

-- ---------------------------------------------------------------------------------------------------------------
-- What only the daemon reads

-- The key of all hashes (version ids, body hashes), so that a hash that outlives an erasure tells nothing. Random:
-- two UUIDs give 244 random bits, sha256 makes 32 bytes of them.
create table argos.secret (
    only_row    boolean primary key default true check (only_row),
    hash_secret bytea   not null check (length(hash_secret) = 32)
);
insert into argos.secret (hash_secret)
values (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));
revoke all on argos.secret from public;

-- The smallest writer generation that may write here. A release whose rules an older binary would break raises it;
-- only an older binary refuses, so a rolling update does not crash-loop.
create table argos.compatibility (
    only_row   boolean primary key default true check (only_row),
    min_writer integer not null
);
insert into argos.compatibility (min_writer) values (1);

-- ---------------------------------------------------------------------------------------------------------------
-- Projects and the sync's place in them

create table argos.projects (
    project_id          text primary key,
    name                text        not null,
    -- An item created before this moment, on a day that was never completely read, is history and not news.
    import_started_at   timestamptz not null,
    import_number       integer     not null default 1,
    import_completed_at timestamptz,
    -- Send time of the first request of the last complete walk without dates: it covers every day up to its own.
    fully_walked_at     timestamptz
);
comment on table argos.projects is 'One row per ARGOS project (one API key). project_id never changes; name is for people.';

-- One writer per project. The page transaction renews this row first, and so holds it locked until it commits.
create table argos.leases (
    project_id text primary key references argos.projects,
    holder     text,
    epoch      bigint      not null default 0,
    expires_at timestamptz not null default '-infinity'
);
comment on table argos.leases is 'Who may write. A writer whose holder or epoch no longer stands here cannot commit.';

create table argos.created_days (
    project_id text        not null references argos.projects,
    day        date        not null,
    covered_at timestamptz not null,
    primary key (project_id, day)
);
comment on table argos.created_days is 'Day (UTC) of created_at -> the moment as of which it was last read completely: the send time of that walk''s first request.';

create table argos.walks (
    project_id   text        not null references argos.projects,
    lane         text        not null,
    -- Keyed hash of server, key and dialect: a cursor is good for the list that gave it.
    source       bytea       not null,
    -- The days this walk will cover, both included; null: without dates, all of them. It asks for a day more on each side.
    from_day     date,
    to_day       date,
    started_at   timestamptz not null,
    -- The vendor's nextpageKey, byte for byte; null before the first page.
    cursor_id    text,
    cursor_date  text,
    pages        bigint      not null default 0,
    items        bigint      not null default 0,
    completed_at timestamptz,
    primary key (project_id, lane)
);
comment on table argos.walks is 'The walk in progress (or last completed) per lane. Its cursor moves in the transaction that writes the page''s rows.';

create table argos.request_budget (
    project_id text   not null references argos.projects,
    day        date   not null,
    reserved   bigint not null,
    primary key (project_id, day)
);
comment on table argos.request_budget is 'Requests reserved per UTC day (by the database''s clock), shared by restarts and replicas.';

-- Small sums that metrics show, kept in the page transaction so that they survive restarts and never need a count(*).
create table argos.counters (
    project_id text   not null references argos.projects,
    name       text   not null,
    label      text   not null default '',
    value      bigint not null,
    primary key (project_id, name, label)
);
comment on table argos.counters is 'submissions (by kyc.result), red_flags_open, red_flags_raised.';

-- ---------------------------------------------------------------------------------------------------------------
-- The mirror

create table argos.submissions (
    project_id    text        not null references argos.projects,
    submission_id text        not null,
    -- Counts up from 1; compare-and-set on every write.
    version       bigint      not null,
    version_id    bytea       not null,
    first_seen_at timestamptz not null,
    changed_at    timestamptz not null,
    observed_at   timestamptz not null,
    -- Day of created_at in UTC; when that is unreadable, the first day of the window that first returned the item.
    created_day   date        not null,
    item          jsonb       not null,

    created_at                    timestamptz,
    updated_at                    timestamptz,
    kyc_result_at                 timestamptz,
    pending_at                    timestamptz,
    email                         text,
    userid                        text,
    applicant_id                  text,
    reviewer                      text,
    kyc_result                    text,
    kyc_comment                   text[],
    kyc_comment_code              text[],
    aml_currentstatus             text,
    aml_risk_level_summary        text,
    aml_raw_data                  jsonb,
    name                          text,
    full_name                     text,
    first_name                    text,
    mid_name                      text,
    last_name                     text,
    full_name_en                  text,
    age_group                     text,
    gender                        text,
    nationality                   text,
    date_of_birth                 text,
    ip_address                    text,
    id_type                       text,
    idcard_issuing_country        text,
    idcard_issue_date             text,
    idcard_expire_date            text,
    identity_number               text,
    document_number               text,
    serial_number                 text,
    address_city                  text,
    address_country               text,
    address_state                 text,
    address_street                text,
    address_street2               text,
    address_zipcode               text,
    address_global_code           text,
    address_compound_code         text,
    address_formatted             text,
    address_input                 text,
    address_detail                text,
    cf1                           text,
    cf2                           text,
    cf3                           text,
    type_of_permit                text,
    type_of_permit_gov_kor        text,
    expiry_date_of_stay_kor       text,
    nationality_gov_kor           text,
    ssn_number                    text,
    phone_number                  text,
    privacy_shield                text,
    curp_number                   text,
    data_version                  text,
    additional_list               jsonb,
    id_liveness_screen_play       numeric,
    id_liveness_paper_printed     numeric,
    id_liveness_replace_portraits numeric,
    injection_type                text,
    injection_time                timestamptz,
    token_id                      text,
    duplicated_information        text,
    custom_duplicated_information text,
    recognition_score             numeric,
    argos_score                   numeric,
    image                         jsonb,
    memo_text                     text,
    memo_updated_at               timestamptz,
    project_options               jsonb,
    ocr_raw                       jsonb,
    ocr                           jsonb,
    review                        jsonb,
    projection_id                 text,

    primary key (project_id, submission_id)
);
create index submissions_created_day on argos.submissions (project_id, created_day);
create index submissions_changed_at  on argos.submissions (changed_at);
-- Hash indexes: a btree refuses a value over some 2,700 bytes, and a vendor's odd text must not stop a page.
create index submissions_userid      on argos.submissions using hash (userid);
create index submissions_email       on argos.submissions using hash (email);
create index submissions_red_flag    on argos.submissions (project_id) where lower(btrim(aml_currentstatus)) = 'red flag';

-- The documents' generations name a person in different fields; this is one name for all of them.
create view argos.applicants as
select project_id,
       submission_id,
       coalesce(nullif(full_name, ''), nullif(name, ''), nullif(concat_ws(' ', first_name, mid_name, last_name), '')) as applicant_name,
       date_of_birth,
       gender,
       nationality,
       email,
       userid,
       applicant_id,
       kyc_result,
       aml_currentstatus
  from argos.submissions;
comment on view argos.applicants is 'Who a submission is about, whichever of data.full_name, data.name or first and last name was sent.';

comment on table argos.submissions is 'The current state of every submission seen, as GET /submission shows it.';
comment on column argos.submissions.version is 'Counts the states seen, from 1. The row in submission_versions with this number is this state.';
comment on column argos.submissions.version_id is 'Keyed hash of the previous version''s id and this state.';
comment on column argos.submissions.first_seen_at is 'When the daemon first saw the submission.';
comment on column argos.submissions.changed_at is 'When the last change of the vendor''s state was seen. A version that only adds what an earlier view could not show will move observed_at alone; today the two are equal.';
comment on column argos.submissions.observed_at is 'When the current version was first observed.';
comment on column argos.submissions.created_day is 'Day of created_at (UTC), or the first day of the window that first returned the item.';
comment on column argos.submissions.item is 'The whole item as the vendor sent it, unknown fields included; an aml that a later answer lost is kept. Expiring links in it are those of the version''s first reading.';
comment on column argos.submissions.created_at is 'created_at: submission time, UTC';
comment on column argos.submissions.updated_at is 'updated_at: the vendor''s last update, UTC. Lists may leave it out; not everything moves it.';
comment on column argos.submissions.kyc_result_at is 'kyc_result_at: when the result was first decided';
comment on column argos.submissions.pending_at is 'pending_at: when it turned pending';
comment on column argos.submissions.email is 'email';
comment on column argos.submissions.userid is 'userid: given by the customer; may be an e-mail address';
comment on column argos.submissions.applicant_id is 'applicant_id: same person, same id';
comment on column argos.submissions.reviewer is 'reviewer: system, agent, or what the vendor adds';
comment on column argos.submissions.kyc_result is 'kyc.result: incomplete, pending, approved, rejected, or what the vendor adds. None is final.';
comment on column argos.submissions.kyc_comment is 'kyc.comment';
comment on column argos.submissions.kyc_comment_code is 'kyc.commentCode';
comment on column argos.submissions.aml_currentstatus is 'aml.currentstatus: "Red Flag", or "Not Screened", which the vendor uses for "screened, no match". Null: no aml object, so no screening is known.';
comment on column argos.submissions.aml_risk_level_summary is 'aml.risk_level_summary';
comment on column argos.submissions.aml_raw_data is 'aml.raw_data';
comment on column argos.submissions.name is 'data.name';
comment on column argos.submissions.full_name is 'data.full_name';
comment on column argos.submissions.first_name is 'data.first_name';
comment on column argos.submissions.mid_name is 'data.mid_name';
comment on column argos.submissions.last_name is 'data.last_name';
comment on column argos.submissions.full_name_en is 'data.full_name_en';
comment on column argos.submissions.age_group is 'data.age_group';
comment on column argos.submissions.gender is 'data.gender';
comment on column argos.submissions.nationality is 'data.nationality: ISO 3166-1 alpha-3';
comment on column argos.submissions.date_of_birth is 'data.date_of_birth: text, because the documents show impossible dates and "N/A"';
comment on column argos.submissions.ip_address is 'data.ip_address: text, may be masked';
comment on column argos.submissions.id_type is 'data.idType';
comment on column argos.submissions.idcard_issuing_country is 'data.idcard_issuingCountry: ISO 3166-1 alpha-3';
comment on column argos.submissions.idcard_issue_date is 'data.idcard_issueDate';
comment on column argos.submissions.idcard_expire_date is 'data.idcard_expireDate';
comment on column argos.submissions.identity_number is 'data.identityNumber: may be masked';
comment on column argos.submissions.document_number is 'data.documentNumber';
comment on column argos.submissions.serial_number is 'data.serialNumber';
comment on column argos.submissions.address_city is 'data.address_city';
comment on column argos.submissions.address_country is 'data.address_country';
comment on column argos.submissions.address_state is 'data.address_state';
comment on column argos.submissions.address_street is 'data.address_street';
comment on column argos.submissions.address_street2 is 'data.address_street2';
comment on column argos.submissions.address_zipcode is 'data.address_zipcode';
comment on column argos.submissions.address_global_code is 'data.address_globalCode';
comment on column argos.submissions.address_compound_code is 'data.address_compoundCode';
comment on column argos.submissions.address_formatted is 'data.address_formatted';
comment on column argos.submissions.address_input is 'data.address_input';
comment on column argos.submissions.address_detail is 'data.address_detail';
comment on column argos.submissions.cf1 is 'data.cf1';
comment on column argos.submissions.cf2 is 'data.cf2';
comment on column argos.submissions.cf3 is 'data.cf3';
comment on column argos.submissions.type_of_permit is 'data.typeOfPermit';
comment on column argos.submissions.type_of_permit_gov_kor is 'data.typeOfPermitGovKor';
comment on column argos.submissions.expiry_date_of_stay_kor is 'data.expiryDateOfStayKor';
comment on column argos.submissions.nationality_gov_kor is 'data.nationalityGovKor';
comment on column argos.submissions.ssn_number is 'data.ssnNumber';
comment on column argos.submissions.phone_number is 'data.phoneNumber';
comment on column argos.submissions.privacy_shield is 'data.privacyShield';
comment on column argos.submissions.curp_number is 'data.curpNumber';
comment on column argos.submissions.data_version is 'data.version';
comment on column argos.submissions.additional_list is 'additional_list: [{answer, inputValue, blockType}]; a single object is stored as a list of one';
comment on column argos.submissions.id_liveness_screen_play is 'id_LivenessScore.Screen_play';
comment on column argos.submissions.id_liveness_paper_printed is 'id_LivenessScore.Paper_printed';
comment on column argos.submissions.id_liveness_replace_portraits is 'id_LivenessScore.Replace_portraits';
comment on column argos.submissions.injection_type is 'Injection_action.type';
comment on column argos.submissions.injection_time is 'Injection_action.time';
comment on column argos.submissions.token_id is 'tokenId';
comment on column argos.submissions.duplicated_information is 'duplicated_information';
comment on column argos.submissions.custom_duplicated_information is 'custom_duplicated_information';
comment on column argos.submissions.recognition_score is 'recognition_score';
comment on column argos.submissions.argos_score is 'argos_score';
comment on column argos.submissions.image is 'image: links that may expire; a change of them alone is not a change';
comment on column argos.submissions.memo_text is 'memo.text';
comment on column argos.submissions.memo_updated_at is 'memo.updated_at';
comment on column argos.submissions.project_options is 'project_options';
comment on column argos.submissions.ocr_raw is 'OCR_raw';
comment on column argos.submissions.ocr is 'ocr';
comment on column argos.submissions.review is 'review';
comment on column argos.submissions.projection_id is 'projection_id';

create table argos.attempts (
    project_id            text    not null,
    submission_id         text    not null,
    place                 integer not null,
    attempt_cnt           numeric,
    verification_result   text,
    ocr_result            text,
    id_barcode_result     text,
    verification          jsonb,
    verification_params   jsonb,
    error_code            text,
    error_msg             text,
    retry_code            text[],
    retry_msg             text[],
    face_similarity_score numeric,
    liveness_score        numeric,
    liveness_detail_score       numeric,
    liveness_detail_probability numeric,
    liveness_detail_quality     numeric,
    selfie_image          text,
    step1_time_1st        timestamptz,
    step1_time_2nd        timestamptz,
    step1_time_3rd        timestamptz,
    step2_time_1st        timestamptz,
    step2_time_2nd        timestamptz,
    step2_time_3rd        timestamptz,
    primary key (project_id, submission_id, place),
    foreign key (project_id, submission_id) references argos.submissions on delete cascade
);
comment on table argos.attempts is 'kyc.attempts[], in the vendor''s order.';
comment on column argos.attempts.place is 'Place in the list, from 1. attempt_cnt need not be unique.';
comment on column argos.attempts.attempt_cnt is 'attemptCnt';
comment on column argos.attempts.verification_result is 'verificationResult: success, fail';
comment on column argos.attempts.ocr_result is 'ocrResult (seen only in an example)';
comment on column argos.attempts.id_barcode_result is 'idBarcodeResult';
comment on column argos.attempts.verification is 'verification';
comment on column argos.attempts.verification_params is 'verificationParams: repeats personal data';
comment on column argos.attempts.error_code is 'errorCode';
comment on column argos.attempts.error_msg is 'errorMsg';
comment on column argos.attempts.retry_code is 'retryCode';
comment on column argos.attempts.retry_msg is 'retryMsg';
comment on column argos.attempts.face_similarity_score is 'faceSimilarityScore';
comment on column argos.attempts.liveness_score is 'livenessScore';
comment on column argos.attempts.liveness_detail_score is 'liveness.score';
comment on column argos.attempts.liveness_detail_probability is 'liveness.probability';
comment on column argos.attempts.liveness_detail_quality is 'liveness.quality';
comment on column argos.attempts.selfie_image is 'selfieImage: a link that may expire';
comment on column argos.attempts.step1_time_1st is 'step1Time1st';
comment on column argos.attempts.step1_time_2nd is 'step1Time2nd';
comment on column argos.attempts.step1_time_3rd is 'step1Time3rd';
comment on column argos.attempts.step2_time_1st is 'step2Time1st';
comment on column argos.attempts.step2_time_2nd is 'step2Time2nd';
comment on column argos.attempts.step2_time_3rd is 'step2Time3rd';

create table argos.aml_matches (
    project_id    text    not null,
    submission_id text    not null,
    place         integer not null,
    risk_level    text,
    resource_id   text,
    argos_number  text,
    score         numeric,
    risk_icons    text[],
    primary key (project_id, submission_id, place),
    foreign key (project_id, submission_id) references argos.submissions on delete cascade
);
create index aml_matches_resource_id on argos.aml_matches using hash (resource_id);
comment on table argos.aml_matches is 'aml.matches[], in the vendor''s order.';
comment on column argos.aml_matches.place is 'Place in the list, from 1.';
comment on column argos.aml_matches.risk_level is 'risk_level: HIGH, MEDIUM, LOW';
comment on column argos.aml_matches.resource_id is 'resource_id: asks for the AML report';
comment on column argos.aml_matches.argos_number is 'argos_number';
comment on column argos.aml_matches.score is 'score';
comment on column argos.aml_matches.risk_icons is 'risk_icons: PEP, SAN, ...';

create table argos.bank_verifications (
    project_id     text not null,
    submission_id  text not null,
    result         text,
    type           text,
    bank_code      text,
    account_number text,
    retry_count    numeric,
    primary key (project_id, submission_id),
    foreign key (project_id, submission_id) references argos.submissions on delete cascade
);
comment on table argos.bank_verifications is 'bank_verification, of projects with the account check (Korea).';
comment on column argos.bank_verifications.result is 'result: success, fail';
comment on column argos.bank_verifications.type is 'type: occupancy, nameCheck';
comment on column argos.bank_verifications.bank_code is 'bank_code';
comment on column argos.bank_verifications.account_number is 'account_number';
comment on column argos.bank_verifications.retry_count is 'retry_count (one document spells it retry_countj)';

-- A list item and an item read by id are two views of a submission: they may show different fields. The hash says
-- "this view's bytes were already applied", and is valid only for the version it was taken at.
create table argos.submission_views (
    project_id    text   not null,
    submission_id text   not null,
    view          text   not null,
    version       bigint not null,
    body_hash     bytea  not null,
    primary key (project_id, submission_id, view),
    foreign key (project_id, submission_id) references argos.submissions on delete cascade
);
comment on table argos.submission_views is 'Keyed hash of the raw item per view, to skip what did not change without decoding it.';

-- ---------------------------------------------------------------------------------------------------------------
-- History

create table argos.submission_versions (
    project_id    text        not null,
    submission_id text        not null,
    version       bigint      not null,
    version_id    bytea       not null unique,
    item          jsonb       not null,
    changed       text[]      not null,
    cause         text        not null,
    view          text        not null,
    lane          text        not null,
    lease_epoch   bigint      not null,
    request_no    bigint      not null,
    observed_at   timestamptz not null,
    primary key (project_id, submission_id, version)
);
comment on table argos.submission_versions is 'Every state seen, in order. Rows are only ever inserted.';
comment on column argos.submission_versions.version_id is 'Keyed hash of the previous version''s id and this state: the same history gives the same ids.';
comment on column argos.submission_versions.item is 'The item as it was sent at this version; an aml that this answer had lost is kept.';
comment on column argos.submission_versions.changed is 'Names of the fields that differ from the version before; empty for the first.';
comment on column argos.submission_versions.cause is 'news (first seen, created since the import began), history (first seen, older), change.';
comment on column argos.submission_versions.view is 'list: an item of a page; id: read by submission_id.';
comment on column argos.submission_versions.lane is 'Which walk saw it: hot, once.';
comment on column argos.submission_versions.lease_epoch is 'The writer''s lease epoch; with request_no it names the answer that showed this state.';

-- ---------------------------------------------------------------------------------------------------------------
-- Outbox

-- position comes from this row, locked last in the transaction: position order is commit order, and a reader that
-- asks for "position > mine" cannot skip a late commit. An identity column could not promise that.
create table argos.outbox_counter (
    only_row          boolean primary key default true check (only_row),
    last_position     bigint not null,
    outbox_generation bigint not null
);
insert into argos.outbox_counter (last_position, outbox_generation) values (0, 1);
comment on column argos.outbox_counter.outbox_generation is 'Changes when an operator says that a backup was restored: consumers then start over.';

create table argos.outbox (
    position      bigint      primary key,
    id            uuid        not null unique,
    aggregatetype text        not null,
    aggregateid   text        not null,
    type          text        not null,
    payload       jsonb       not null,
    project_id    text        not null,
    submission_id text,
    version       bigint,
    ordinal       integer     not null,
    traceparent   text,
    recorded_at   timestamptz not null
);
create index outbox_submission on argos.outbox (project_id, submission_id, position);
comment on table argos.outbox is 'One row per event, inserted in the transaction that writes what it tells. Rows are never updated. Columns id, aggregatetype, aggregateid, type and payload are those of the Debezium outbox event router.';
comment on column argos.outbox.position is 'Commit order. Read "where position > $mine order by position".';
comment on column argos.outbox.id is 'The same fact has the same id, also when it is found again after a crash.';
comment on column argos.outbox.aggregateid is 'project:submission_id, or the project';
comment on column argos.outbox.ordinal is 'Order of the event within its version, from 0.';
comment on column argos.outbox.traceparent is 'W3C trace context of the pass that wrote it.';

-- ---------------------------------------------------------------------------------------------------------------
-- Quarantine

create table argos.quarantine (
    project_id    text        not null references argos.projects,
    body_hash     bytea       not null,
    submission_id text,
    reason        text        not null,
    detail        text        not null,
    body          text        not null,
    view          text        not null,
    lane          text        not null,
    first_seen_at timestamptz not null,
    expires_at    timestamptz not null,
    primary key (project_id, body_hash)
);
create index quarantine_submission on argos.quarantine (project_id, submission_id);
create index quarantine_expires_at on argos.quarantine (expires_at);
comment on table argos.quarantine is 'Items that could not be used, as they were sent (the first limits.item_bytes of them). A row goes when the vendor serves the submission well again, or when it expires.';
comment on column argos.quarantine.reason is 'no_id, too_large, too_deep, too_many_children, not_json, refused_by_database';
