//! The overlay, the control paths, the key.

use reqwest::StatusCode;
use serde_json::json;

use super::super::*;
use super::*;

#[tokio::test]
async fn a_wrong_key_is_refused_and_never_logged() {
    let simulator = start(Options::default()).await;
    let request = reqwest::Client::new().get(format!("{}/submission", simulator.base_url()));
    let answer = request.header("x-api-key", "guessed").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.text().await.unwrap(), r#"{"message":"Forbidden"}"#);
    read(&simulator, "?count=7").await;
    let log = simulator.requests();
    assert_eq!((log[0].key_ok, log[0].status, log[1].key_ok, log[1].items), (false, 403, true, 7));
    assert_eq!(log[1].query, "count=7");
    let text = serde_json::to_string(&log).unwrap();
    assert!(!text.contains("guessed") && !text.contains("simulated-key"));
}

#[tokio::test]
async fn a_new_key_takes_the_old_ones_place() {
    let simulator = start(Options::default()).await;
    simulator.set_api_key("another");
    assert_eq!(get(&simulator, "").await.status(), StatusCode::FORBIDDEN);
    simulator.set_api_key("simulated-key");
    assert_eq!(get(&simulator, "").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_overlay_changes_items() {
    let simulator = start(Options::default()).await;
    let approved = simulator.truth().into_iter().find(|item| item["kyc"]["result"] == "approved").unwrap();
    let approved = id(&approved);
    let item = async || read(&simulator, &format!("?submission_id={approved}")).await["Items"][0].clone();
    simulator.patch(&approved, json!({"kyc": {"result": "rejected", "attempts": null}}));
    let patched = item().await;
    assert_eq!(patched["kyc"], json!({"result": "rejected"}));
    simulator.blank(&approved);
    let blanked = item().await;
    assert_eq!(blanked["created_at"], patched["created_at"]);
    assert_eq!(blanked["data"], json!({"idType": patched["data"]["idType"]}));
    assert!(!blanked.to_string().contains("aint"));
    simulator.remove(&approved);
    assert_eq!(item().await, Value::Null);
    assert_eq!(simulator.truth().len(), 199);
    let raw = r#"{ "submission_id":"odd-one", "a":1e400, "a":"\ud800\u0000" }"#;
    simulator.put_raw("odd-one", "2026-03-10T11:59:59.999Z".parse().unwrap(), raw);
    let text = get(&simulator, "?count=1").await.text().await.unwrap();
    assert!(text.starts_with(&format!(r#"{{"Items":[{raw}],"nextpageKey":"#)), "{text}");
}

#[tokio::test]
async fn the_control_paths_work_and_the_vendor_has_none() {
    let simulator = start(Options::default()).await;
    let url = |path: &str| format!("http://{}/_sim/{path}", simulator.addr());
    let client = reqwest::Client::new();
    let item = json!({"submission_id": "byhand", "created_at": "2026-03-10T11:00:00.000Z"}).to_string();
    for (request, body) in [
        (client.put(url("items")), item.as_str()),
        (client.patch(url("items/byhand")), r#"{"email":"taint@example.com"}"#),
        (client.post(url("faults")), r#"["status-500=1","slow=1"]"#),
        (client.post(url("freeze")), ""),
        (client.post(url("thaw")), ""),
    ] {
        assert_eq!(request.body(body.to_owned()).send().await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(get(&simulator, "").await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let text = client.get(url("truth")).send().await.unwrap().text().await.unwrap();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap(), simulator.truth());
    assert!(text.contains("taint@example.com"));
    assert_eq!(client.delete(url("items/byhand")).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(simulator.truth().len(), 200);
    assert_eq!(client.post(url("faults")).body(r#"["no"]"#).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let log = client.get(url("requests")).send().await.unwrap().text().await.unwrap();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&log).unwrap().len(), 1);
    assert_eq!(get(&simulator, "/truth").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn only_loopback() {
    let options = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    let refused = Simulator::start(options, clock()).await.err().unwrap();
    assert!(refused.to_string().contains("127.0.0.1"));
}
