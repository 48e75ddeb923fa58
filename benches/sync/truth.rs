//! Whether the tables hold what they must: after every phase the count and a checksum of every table are compared with what
//! SQL makes of the served items, in a database of its own. A phase that loaded less, or something else, is an error.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use crate::Result;
use crate::limit::copy_in;
use crate::stage::{Stage, connect, execute};

/// The database of what must be.
const DATABASE: &str = "truth";

/// A state of all submissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// As they were imported.
    V0,
    /// After 1% of them have changed.
    V1,
}

impl State {
    /// The name of the file that is served.
    pub fn name(self) -> &'static str {
        match self {
            Self::V0 => "v0",
            Self::V1 => "v1",
        }
    }
}

/// A table, how its rows are compared, and what they must be. Left out is what cannot be known beforehand: times of
/// observation, numbers of requests, hashes that are keyed with a random secret.
struct Table {
    name: &'static str,
    is: &'static str,
    must_be: &'static str,
}

const TABLES: [Table; 8] = [
    Table {
        name: "submissions",
        is: "select to_jsonb(t) - '{version_id,first_seen_at,first_request,changed_at,observed_at}'::text[]
               from argos.submissions t",
        must_be: "select jsonb_build_object(
                'project_id', 'bench', 'submission_id', id, 'version', version, 'history', true, 'item', item,
                'created_day', (time_of(item, 'created_at') at time zone 'UTC')::date,
                'created_at', time_of(item, 'created_at'), 'updated_at', time_of(item, 'updated_at'),
                'kyc_result_at', time_of(item, 'kyc_result_at'), 'pending_at', time_of(item, 'pending_at'),
                'email', item -> 'email', 'userid', item -> 'userid', 'applicant_id', item -> 'applicant_id',
                'reviewer', item -> 'reviewer', 'kyc_result', item #> '{kyc,result}',
                'kyc_comment', item #> '{kyc,comment}', 'kyc_comment_code', item #> '{kyc,commentCode}',
                'aml_currentstatus', item #> '{aml,currentstatus}',
                'aml_risk_level_summary', item #> '{aml,risk_level_summary}')
             || jsonb_build_object(
                'name', data -> 'name', 'first_name', data -> 'first_name', 'gender', data -> 'gender',
                'nationality', data -> 'nationality', 'date_of_birth', data -> 'date_of_birth',
                'ip_address', data -> 'ip_address', 'id_type', data -> 'idType',
                'idcard_issuing_country', data -> 'idcard_issuingCountry',
                'idcard_issue_date', data -> 'idcard_issueDate', 'idcard_expire_date', data -> 'idcard_expireDate',
                'identity_number', data -> 'identityNumber', 'document_number', data -> 'documentNumber',
                'address_city', data -> 'address_city', 'address_country', data -> 'address_country',
                'address_state', data -> 'address_state', 'address_street', data -> 'address_street',
                'address_zipcode', data -> 'address_zipcode', 'address_global_code', data -> 'address_globalCode',
                'address_compound_code', data -> 'address_compoundCode',
                'address_formatted', data -> 'address_formatted', 'address_input', data -> 'address_input',
                'address_detail', data -> 'address_detail', 'cf1', data -> 'cf1', 'cf2', data -> 'cf2',
                'cf3', data -> 'cf3')
               from (select *, item -> 'data' as data from {state}) s",
    },
    Table {
        name: "attempts",
        is: "select to_jsonb(t) from argos.attempts t",
        must_be: "select jsonb_build_object(
                'project_id', 'bench', 'submission_id', id, 'place', place, 'attempt_cnt', plain(a -> 'attemptCnt'),
                'verification_result', a -> 'verificationResult', 'ocr_result', a -> 'ocrResult',
                'id_barcode_result', a -> 'idBarcodeResult', 'verification_params', a -> 'verificationParams',
                'error_code', a -> 'errorCode', 'error_msg', a -> 'errorMsg', 'retry_code', a -> 'retryCode',
                'retry_msg', a -> 'retryMsg', 'face_similarity_score', plain(a -> 'faceSimilarityScore'),
                'liveness_score', plain(a -> 'livenessScore'), 'selfie_image', a -> 'selfieImage',
                'step1_time_1st', time_of(a, 'step1Time1st'), 'step2_time_1st', time_of(a, 'step2Time1st'))
               from {state}, jsonb_array_elements(item #> '{kyc,attempts}') with ordinality l (a, place)",
    },
    Table {
        name: "aml_matches",
        is: "select to_jsonb(t) from argos.aml_matches t",
        must_be: "select jsonb_build_object(
                'project_id', 'bench', 'submission_id', id, 'place', place, 'risk_level', m -> 'risk_level',
                'resource_id', m -> 'resource_id', 'argos_number', m -> 'argos_number', 'score', plain(m -> 'score'),
                'risk_icons', m -> 'risk_icons')
               from {state}, jsonb_array_elements(item #> '{aml,matches}') with ordinality l (m, place)",
    },
    Table {
        name: "bank_verifications",
        is: "select to_jsonb(t) from argos.bank_verifications t",
        must_be: "select jsonb_build_object(
                'project_id', 'bench', 'submission_id', id, 'result', b -> 'result', 'type', b -> 'type',
                'bank_code', b -> 'bank_code', 'account_number', b -> 'account_number',
                'retry_count', plain(b -> 'retry_count'))
               from (select id, item -> 'bank_verification' as b from {state}) s where b is not null",
    },
    Table {
        name: "submission_views",
        is: "select to_jsonb(t) - 'body_hash' || jsonb_build_object('hash_bytes', length(body_hash))
               from argos.submission_views t",
        must_be: "select jsonb_build_object('project_id', 'bench', 'submission_id', id, 'view', 'list',
                                            'version', version, 'hash_bytes', 32) from {state}",
    },
    Table {
        name: "submission_versions",
        is: "select to_jsonb(t) - '{version_id,lease_epoch,request_no,observed_at}'::text[]
               from argos.submission_versions t",
        must_be: "select jsonb_build_object('project_id', 'bench', 'submission_id', id, 'version', 1,
                                            'item', coalesce(before, item), 'changed', '[]'::jsonb,
                                            'cause', 'history', 'view', 'list', 'lane', 'once') from {state}
                  union all
                  select jsonb_build_object('project_id', 'bench', 'submission_id', id, 'version', 2, 'item', item,
                                            'changed', changed(before, item), 'cause', 'change', 'view', 'list',
                                            'lane', 'once') from {state} where version = 2",
    },
    Table {
        name: "alerts",
        is: "select to_jsonb(t) - '{alert_id,raised_at}'::text[] from argos.alerts t",
        must_be: "select jsonb_build_object('project_id', 'bench', 'submission_id', id, 'version', 1,
                                            'kind', 'red_flag', 'risk', risk(item), 'imported', true)
                    from {state} where item #>> '{aml,currentstatus}' = 'Red Flag'
                  union all
                  select jsonb_build_object('project_id', 'bench', 'submission_id', id, 'version', 2,
                                            'kind', 'approval_revoked', 'risk', risk(item), 'imported', false)
                    from {state}
                   where before #>> '{kyc,result}' = 'approved' and item #>> '{kyc,result}' = 'rejected'",
    },
    Table {
        name: "outbox",
        is: "select to_jsonb(t) - '{position,id,traceparent,recorded_at}'::text[]
                    || jsonb_build_object('payload', payload - 'observed_at')
               from argos.outbox t",
        must_be: "select event(id, coalesce(before, item), 1, 0, 'submission.imported', jsonb_build_object(
                               'from', null, 'to', coalesce(before, item) #> '{kyc,result}',
                               'aml_status', coalesce(before, item) #> '{aml,currentstatus}')) from {state}
                  union all
                  select jsonb_build_object('aggregatetype', 'project', 'aggregateid', 'bench', 'project_id', 'bench',
                                            'type', 'project.import_completed', 'ordinal', 0,
                                            'payload', jsonb_build_object(
                                                'schema_version', 1, 'type', 'project.import_completed',
                                                'project', 'bench', 'import_number', 1,
                                                'submissions', (select count(*) from {state})))
                  union all
                  select event(id, item, 2, place - attempts(before) - 1, 'kyc.attempt_added',
                               jsonb_build_object('from', null, 'to', codes(attempt)))
                    from {state}, jsonb_array_elements(item #> '{kyc,attempts}') with ordinality l (attempt, place)
                   where version = 2 and place > attempts(before)
                  union all
                  select event(id, item, 2, attempts(item) - attempts(before), 'kyc.result_changed',
                               jsonb_build_object('from', before #> '{kyc,result}', 'to', item #> '{kyc,result}',
                                                  'codes', coalesce(item #> '{kyc,commentCode}', '[]'),
                                                  'reviewer', item -> 'reviewer'))
                    from {state} where version = 2
                  union all
                  select event(id, item, 2, attempts(item) - attempts(before) + 1, 'submission.updated',
                               jsonb_build_object('changed', changed(before, item)))
                    from {state} where version = 2",
    },
];

/// How many rows a table has, and a sum of their hashes, which does not depend on their order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sum {
    rows: i64,
    hash: String,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, checksum {}", self.rows, self.hash)
    }
}

async fn sum_of(connection: &mut PgConnection, query: &str) -> Result<Sum> {
    let sql = format!(
        "select count(*), coalesce(sum(hashtextextended(jsonb_strip_nulls(r)::text, 0)::numeric), 0)::text
           from ({query}) rows (r)"
    );
    let (rows, hash) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(connection).await?;
    Ok(Sum { rows, hash })
}

/// What must be.
pub struct Truth(HashMap<(State, &'static str), Sum>);

impl Truth {
    /// Reads the served files of some states into a database, works out what the tables must hold, and removes it again.
    pub async fn of(stage: &mut Stage, states: &[State]) -> Result<Self> {
        stage.drop_database(DATABASE).await?;
        stage.cluster.ensure_database(DATABASE).await?;
        let mut connection = connect(&stage.cluster, DATABASE).await?;
        execute(&mut connection, include_str!("expected.sql")).await?;
        for state in states {
            let name = state.name();
            execute(&mut connection, &format!("create unlogged table lines_{name} (line text)")).await?;
            // No character of a line means anything to this COPY.
            let sql = format!(r"copy lines_{name} from stdin with (format csv, quote e'\x01', delimiter e'\x02')");
            copy_in(&mut connection, &sql, File::open(stage.server.file(name))?).await?;
            let sql = format!(
                "create unlogged table items_{name} as
                 select item ->> 'submission_id' as id, item from (select left(line, -1)::jsonb as item from lines_{name}) l;
                 drop table lines_{name}; analyze items_{name}"
            );
            execute(&mut connection, &sql).await?;
            let sql = match state {
                State::V0 => "create view v0 as select id, 1 as version, null::jsonb as before, item from items_v0",
                State::V1 => {
                    "create view v1 as
                     select n.id, case when o.item = n.item then 1 else 2 end as version,
                            case when o.item <> n.item then o.item end as before, n.item
                       from items_v1 n join items_v0 o on o.id = n.id"
                }
            };
            execute(&mut connection, sql).await?;
        }
        let mut sums = HashMap::new();
        for state in states {
            for table in &TABLES {
                let query = table.must_be.replace("{state}", state.name());
                let sum = sum_of(&mut connection, &query).await?;
                // Equal because both are empty would say nothing.
                if sum.rows == 0 {
                    return Err(format!("{}: nothing to compare; ask for more --submissions", table.name).into());
                }
                sums.insert((*state, table.name), sum);
            }
        }
        connection.close().await?;
        stage.drop_database(DATABASE).await?;
        Ok(Self(sums))
    }

    /// Fails unless every table of a database holds what it must.
    pub async fn check(&self, stage: &Stage, database: &str, state: State) -> Result<()> {
        let mut connection = connect(&stage.cluster, database).await?;
        let mut wrong = Vec::new();
        for table in &TABLES {
            let is = sum_of(&mut connection, table.is).await?;
            let must_be = self.0.get(&(state, table.name)).ok_or("this state is not known")?;
            if is != *must_be {
                wrong.push(format!("{}: {is}; it must have {must_be}", table.name));
            }
        }
        let sql =
            "select count(*) = max(position) and count(*) = count(distinct position) and count(traceparent) = count(*)
                     from argos.outbox";
        if sqlx::query_scalar::<_, Option<bool>>(sql).fetch_one(&mut connection).await? != Some(true) {
            wrong.push("outbox: positions have gaps, or a row has no traceparent".to_owned());
        }
        connection.close().await?;
        if wrong.is_empty() { Ok(()) } else { Err(format!("the tables are not right:\n{}", wrong.join("\n")).into()) }
    }
}

/// Where every row of the data tables stands and which transaction wrote it: equal before and after means that none was
/// written, not even with the same content.
pub async fn placement(stage: &Stage, database: &str) -> Result<Vec<String>> {
    let mut connection = connect(&stage.cluster, database).await?;
    let mut placement = Vec::new();
    for Table { name, .. } in &TABLES {
        let sql = format!(
            "select coalesce(sum(hashtextextended(ctid::text || ' ' || xmin::text, 0)::numeric), 0)::text from argos.{name}"
        );
        let sum: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await?;
        placement.push(format!("{name} {sum}"));
    }
    connection.close().await?;
    Ok(placement)
}
