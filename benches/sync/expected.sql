-- What the tables must hold, worked out from the served items alone. It shares nothing with the program: where the two
-- differ, one of them is wrong. These are the functions; truth.rs has the queries.

create function time_of(item jsonb, field text) returns timestamptz
language sql stable return (item ->> field)::timestamptz;

-- A number in the one form that equal numbers have.
create function plain(value jsonb) returns numeric
language sql immutable return trim_scale((value #>> '{}')::numeric);

create function stamp(at timestamptz) returns text
language sql stable return to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

-- The part that the payloads of all events have.
create function payload(id text, item jsonb, version bigint, type text) returns jsonb
language sql stable return jsonb_build_object(
    'schema_version', 1, 'type', type, 'project', 'bench', 'submission_id', id, 'version', version, 'view', 'list',
    'lane', 'once', 'inferred', false,
    'vendor_times', jsonb_build_object(
        'created_at', stamp(time_of(item, 'created_at')), 'updated_at', stamp(time_of(item, 'updated_at')),
        'pending_at', stamp(time_of(item, 'pending_at')), 'kyc_result_at', stamp(time_of(item, 'kyc_result_at'))));

create function event(id text, item jsonb, version bigint, ordinal bigint, type text, body jsonb) returns jsonb
language sql stable return jsonb_build_object(
    'aggregatetype', 'submission', 'aggregateid', 'bench:' || id, 'type', type, 'project_id', 'bench',
    'submission_id', id, 'version', version, 'ordinal', ordinal, 'payload', payload(id, item, version, type) || body);

-- The names of the fields that differ, two levels deep.
create function changed(before jsonb, item jsonb) returns jsonb
language sql immutable return (
    select coalesce(jsonb_agg(name order by name collate "C"), '[]')
      from (select key as name
              from jsonb_object_keys(before || item) key
             where before -> key is distinct from item -> key and jsonb_typeof(item -> key) <> 'object'
             union all
            select parent || '.' || key
              from jsonb_each(item) o (parent, members), jsonb_object_keys(before -> parent || members) key
             where jsonb_typeof(members) = 'object' and before -> parent -> key is distinct from members -> key) names);

-- What an event tells of an attempt.
create function codes(attempt jsonb) returns jsonb
language sql immutable return jsonb_build_object(
    'attemptCnt', plain(attempt -> 'attemptCnt'), 'verificationResult', attempt -> 'verificationResult',
    'ocrResult', attempt -> 'ocrResult', 'idBarcodeResult', attempt -> 'idBarcodeResult',
    'errorCode', attempt -> 'errorCode', 'retryCode', attempt -> 'retryCode',
    'faceSimilarityScore', plain(attempt -> 'faceSimilarityScore'), 'livenessScore', plain(attempt -> 'livenessScore'));

create function attempts(item jsonb) returns bigint
language sql immutable return jsonb_array_length(item #> '{kyc,attempts}');

create function risk(item jsonb) returns text
language sql immutable return case coalesce(item #>> '{aml,risk_level_summary}', 'Not Screened')
    when 'Not Screened' then 'none' else lower(item #>> '{aml,risk_level_summary}') end;
