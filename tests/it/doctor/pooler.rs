//! The real PgBouncer between argos-sync and PostgreSQL.

use super::*;
use crate::support::pooler::Pooler;

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_told() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let lenient = "ignore_startup_parameters = extra_float_digits\n";
    for (settings, patience) in [
        ("pool_mode = transaction", "several server connections"),
        ("pool_mode = transaction\ndefault_pool_size = 1", "one server connection"),
        ("pool_mode = statement", "no transactions"),
    ] {
        let Some(pooler) = Pooler::before(&database, &format!("{lenient}{settings}")).await else { return };
        let told = Told::by(command(&vendor.base_url(), &pooler.url, &[])).await;
        told.ends_with(4);
        let said = told.says("pooler", "failed");
        assert!(said.contains("transaction mode") && said.contains("pool_mode = session"), "{patience}: {said}");
        assert!(told.checks("skipped").contains(&"schema"), "{patience}: {:?}", told.ended);
    }
}

#[tokio::test]
async fn a_pooler_that_refuses_what_is_sent_at_the_start_is_told() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let Some(pooler) = Pooler::before(&database, "pool_mode = session").await else { return };
    let told = Told::by(command(&vendor.base_url(), &pooler.url, &[])).await;
    told.ends_with(4);
    told.has("connection", "failed", &["extra_float_digits", "PgBouncer is in the way"]);
}

#[tokio::test]
async fn a_pooler_in_session_mode_is_no_different_from_the_server() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let settings = "pool_mode = session\nignore_startup_parameters = extra_float_digits";
    let Some(pooler) = Pooler::before(&database, settings).await else { return };
    let told = Told::by(command(&vendor.base_url(), &pooler.url, &[])).await;
    told.ends_with(0);
    told.has("pooler", "ok", &[]);
    told.has("schema", "ok", &[]);
}
