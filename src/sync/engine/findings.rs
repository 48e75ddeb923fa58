//! Tells what was found about the vendor: in the log, in the metrics, and by name what no document names.

use sqlx::PgConnection;

use super::Engine;
use crate::chain::chain;
use crate::config::{Api, Dialect, Parameters};
use crate::domain::drift::Named;
use crate::domain::probe::{Fact, Findings, Settings};
use crate::store::error::StoreError;
use crate::store::lease::Lease;
use crate::store::{drift, probe};
use crate::sync::error::SyncError;

/// What an unknown AML status means and what to do.
pub const UNKNOWN_AML: &str = "It is neither a Red Flag nor \"Not Screened\": look at these submissions in the ARGOS dashboard, and ask the vendor what it means.";

impl Engine {
    /// Names what the findings were asked with: server, key, dialect, place of parameters.
    pub(super) fn probe_source(&self) -> String {
        let [server, key, dialect] = self.parts.client.identity();
        let place = place_name(self.parts.project.api.parameters);
        let hash = self.parts.key.source(&[server, key, dialect, place.as_bytes()]);
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn probe_settings(&self) -> Settings {
        probe_settings(&self.parts.project.api)
    }

    /// What a probe found, for the log: changes and disagreements with advice.
    pub(super) fn tell_findings(&self, findings: &Findings, changed: &[Fact], requests: u64) {
        let project = &self.parts.project.id;
        tracing::info!(
            project,
            requests,
            filter = ?findings.filter,
            date_format = findings.text(Fact::DateFormat).unwrap_or("unknown"),
            clip = findings.clip,
            "the vendor was probed"
        );
        for fact in changed {
            let Some(stored) = findings.facts.get(fact) else { continue };
            let was = stored.previous.clone().unwrap_or_default();
            tracing::error!(
                project,
                fact = fact.as_str(),
                %was,
                now = %stored.value,
                evidence = stored.evidence,
                advice = fact.change_advice(),
                "the vendor's API works in another way than before"
            );
        }
        for (fact, stored) in &findings.facts {
            let Some(advice) = fact.disagreement(&stored.value, &self.probe_settings()) else { continue };
            let (fact, evidence) = (fact.as_str(), &stored.evidence);
            tracing::warn!(project, fact, found = %stored.value, evidence, advice, "not as configured or counted on");
        }
    }

    /// What is known, for the metrics.
    pub(super) fn show_findings(&self, findings: &Findings) {
        let (metrics, settings) = (&self.parts.metrics, self.probe_settings());
        for fact in Fact::ALL {
            let stored = findings.facts.get(&fact);
            let disagrees = stored.is_some_and(|stored| fact.disagreement(&stored.value, &settings).is_some());
            metrics.disagreement(fact, disagrees);
            metrics.mode_changed(fact, stored.and_then(|stored| stored.changed_at));
        }
        metrics.probed.set(findings.found_at.map_or(0, |at| at.timestamp()));
    }

    /// Takes over into the metrics what the database knows of the vendor's ways, on every replica.
    pub(super) async fn show_probe(&self, connection: &mut PgConnection) -> Result<(), SyncError> {
        let project_id = &self.parts.project.id;
        self.show_findings(&probe::findings(connection, project_id).await?);
        self.parts.metrics.unknown_aml_status.set(drift::unknown_aml(connection, project_id).await?);
        let names = drift::names(connection, project_id).await?.len();
        self.parts.metrics.drift_names.set(i64::try_from(names).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Writes the names that committed pages showed and no document knows: new ones, and once a minute the counts. Costs
    /// nothing otherwise. They are progress: a failure costs no pass, and what is not written is written next time.
    pub(super) async fn flush_drift(&mut self, lease: &Lease) {
        if let Err(error) = self.try_flush_drift(lease).await {
            tracing::warn!(project = self.parts.project.id, error = chain(&error), "oddities are counted later");
        }
    }

    async fn try_flush_drift(&mut self, lease: &Lease) -> Result<(), SyncError> {
        let now = self.parts.clock.now();
        if !self.drift.due(now, lease.epoch) {
            return Ok(());
        }
        let project = self.parts.project.id.clone();
        let mut transaction = self.fenced(lease).await?;
        let new = self.drift.write(&mut transaction, &project, lease.epoch, now).await?;
        transaction.commit().await.map_err(StoreError::doing("committing the names of oddities"))?;
        self.drift.written(&new, now);
        for (named, name) in new {
            let (kind, aml) = (named.as_str(), named == Named::Value && name.starts_with("aml."));
            if aml {
                tracing::error!(project, kind, name, advice = UNKNOWN_AML, "an AML status that no document names");
            } else {
                tracing::warn!(project, kind, name, "no document names this; it is kept in the column item");
            }
        }
        Ok(())
    }
}

/// What findings are held against.
pub fn probe_settings(api: &Api) -> Settings {
    let (dialect, parameters) = (dialect_name(api.dialect), place_name(api.parameters));
    Settings { dialect, parameters, count: api.count.into() }
}

pub(super) fn dialect_name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Idcheck => "idcheck",
        Dialect::V3 => "v3",
    }
}

pub(super) fn place_name(place: Parameters) -> &'static str {
    match place {
        Parameters::Query => "query",
        Parameters::Body => "body",
    }
}
