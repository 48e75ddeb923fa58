//! Takes up changed settings between two requests. The lease, the permits and the walks stay.

use std::sync::Arc;

use super::{Engine, in_time};
use crate::argos::client::{Client, ClientError};
use crate::chain::chain;
use crate::config::Settings;
use crate::domain::hash::Hash;

impl Engine {
    /// Puts other settings in force. Whether the vendor is asked in another way from now on: what it refused it may grant.
    pub async fn reload(&mut self, settings: Arc<Settings>) -> Result<bool, ClientError> {
        let Some(project) = settings.projects.iter().find(|project| project.id == self.parts.project.id).cloned()
        else {
            return Ok(false);
        };
        let (before, after) = (&self.parts.project.api, &project.api);
        let asks_otherwise = self.parts.settings.asks_otherwise(&settings, &project.id);
        let other_budget = before.requests_per_day != after.requests_per_day;
        if asks_otherwise || self.parts.settings.limits.page_items != settings.limits.page_items {
            let (clock, metrics, heartbeat) = (&self.parts.clock, &self.parts.metrics, &self.parts.heartbeat);
            let client = Client::new(after, &settings.limits, clock.clone(), metrics.clone(), heartbeat.clone())?;
            self.replace_client(client);
        }
        // Smaller pages than configured have a reason that is not over.
        let before = self.parts.project.api.count;
        self.count = if self.count == before { project.api.count } else { self.count.min(project.api.count) };
        self.parts.settings = settings;
        self.parts.project = project;
        // What is due is another matter now.
        self.picture = None;
        if other_budget {
            self.give_back_permits_in_time().await;
        }
        Ok(asks_otherwise)
    }

    fn replace_client(&mut self, client: Client) {
        let identity = |client: &Client| client.identity().map(<[u8]>::to_vec);
        let (before, after) = (identity(&self.parts.client), identity(&client));
        self.parts.client.replace_with(client);
        if before != after {
            let sure = std::mem::take(&mut self.same_project);
            // Of two changes in a row, nobody has walked with the first.
            if sure || self.former.is_none() {
                self.former = Some(before);
            }
        }
    }

    /// A block of another day's budget is too large, or too small. What cannot be given back is lost, which is the safe side.
    async fn give_back_permits_in_time(&mut self) {
        let heartbeat = self.parts.heartbeat.clone();
        if let Err(error) = in_time(&heartbeat, self.give_back_permits()).await {
            let project = &self.parts.project.id;
            tracing::warn!(project, error = chain(&error), "requests that were reserved and not sent are lost");
        }
    }

    /// After the key has changed and was found to be this project's: whose list the walks read until now.
    pub(super) fn former_source(&self) -> Option<Hash> {
        let [server, key, dialect] = self.former.as_ref()?;
        let [same_server, _, same_dialect] = self.parts.client.identity();
        (server == same_server && dialect == same_dialect).then(|| self.source_of([server, key, dialect]))
    }
}
