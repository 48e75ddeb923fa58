//! Tests over real HTTP: what they share.

mod control;
mod faults;
mod lists;
mod lives;

use serde_json::Value;

use super::{Faults, Options, Simulator};
use crate::clock::Clock;

fn clock() -> Clock {
    Clock::manual("2026-03-10T12:00:00Z".parse().unwrap())
}

async fn start(options: Options) -> Simulator {
    // Fails when another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Simulator::start(options, clock()).await.unwrap()
}

async fn get(simulator: &Simulator, query: &str) -> reqwest::Response {
    let url = format!("{}/submission{query}", simulator.base_url());
    reqwest::Client::new().get(url).header("x-api-key", "simulated-key").send().await.unwrap()
}

async fn read(simulator: &Simulator, query: &str) -> Value {
    serde_json::from_str(&get(simulator, query).await.text().await.unwrap()).unwrap()
}

fn id(item: &Value) -> String {
    item["submission_id"].as_str().unwrap().to_owned()
}

fn ids(page: &Value) -> Vec<String> {
    page["Items"].as_array().unwrap().iter().map(id).collect()
}

fn faults(text: &str) -> Faults {
    Faults::parse(text).unwrap()
}

/// Walks the list; gives up after `most` pages.
async fn walk(simulator: &Simulator, query: &str, most: usize) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    while pages.len() < most {
        let page = read(simulator, &format!("?{query}{cursor}")).await;
        let next = page["nextpageKey"].clone();
        pages.push(page);
        let Some(id) = next["id"].as_str() else { break };
        cursor = format!("&nextpage_id={id}&nextpage_date={}", next["created_at"].as_str().unwrap());
    }
    pages
}

fn no_links(mut item: Value) -> Value {
    item.as_object_mut().unwrap().remove("image");
    if let Some(attempts) = item.pointer_mut("/kyc/attempts").and_then(Value::as_array_mut) {
        for attempt in attempts {
            attempt.as_object_mut().unwrap().remove("selfieImage");
        }
    }
    item
}
