//! Lists, searches and subsets.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;
use serde_json::json;

use super::super::*;
use super::*;

#[tokio::test]
async fn pages_partition_the_list_in_either_order() {
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let simulator = start(Options { order, ..Options::default() }).await;
        let pages = walk(&simulator, "count=30", 50).await;
        assert_eq!(pages.len(), 7);
        assert!(pages[..6].iter().all(|page| ids(page).len() == 30));
        let mut seen: Vec<_> = pages.iter().flat_map(|page| page["Items"].as_array().unwrap().clone()).collect();
        if order == Order::NewestFirst {
            seen.reverse();
        }
        let truth: Vec<_> = simulator.truth().into_iter().map(no_links).collect();
        assert_eq!(seen.into_iter().map(no_links).collect::<Vec<_>>(), truth);
        // Exactly full pages: no key to an empty page.
        assert_eq!(walk(&simulator, "count=50", 50).await.len(), 4);
    }
}

#[tokio::test]
async fn ties_are_kept_apart_by_the_id() {
    let simulator = start(Options { initial: 0, ..Options::default() }).await;
    for n in 0..25 {
        simulator.put(json!({"submission_id": format!("tie{n:02}"), "created_at": "2026-03-09T00:00:00.000Z"}));
    }
    let pages = walk(&simulator, "count=4&start_date=2026-03-09&end_date=2026-03-09", 50).await;
    let seen: BTreeSet<_> = pages.iter().flat_map(ids).collect();
    assert_eq!((pages.len(), seen.len()), (7, 25));
}

#[tokio::test]
async fn ties_may_be_ordered_anew_in_each_walk_and_are_still_partitioned() {
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let options = Options { initial: 40, order, faults: faults("shuffle-ties"), ..Options::default() };
        let simulator = start(options).await;
        let moment = simulator.truth()[20]["created_at"].clone();
        for n in 0..25 {
            simulator.put(json!({"submission_id": format!("tie{n:02}"), "created_at": moment}));
        }
        let walks = [walk(&simulator, "count=4", 50).await, walk(&simulator, "count=4", 50).await];
        let [one, other] = walks.each_ref().map(|pages| pages.iter().flat_map(ids).collect::<Vec<_>>());
        assert_ne!(one, other);
        let tied = |id: &String| id.starts_with("tie") || *id == self::id(&simulator.truth()[20]);
        let rest = |ids: &[String]| ids.iter().filter(|id| !tied(id)).cloned().collect::<Vec<_>>();
        assert_eq!(rest(&one), rest(&other), "only ties change places");
        for ids in [one, other] {
            assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (65, 65));
        }
        // What the cursor names may go meanwhile.
        let first = read(&simulator, "?count=30").await;
        let last = ids(&first).pop().unwrap();
        assert!(tied(&last), "the page ends among ties: {last}");
        simulator.remove(&last);
        let key = &first["nextpageKey"];
        let (id, at) = (key["id"].as_str().unwrap(), key["created_at"].as_str().unwrap());
        let second = read(&simulator, &format!("?count=50&nextpage_id={id}&nextpage_date={at}")).await;
        let both: BTreeSet<_> = ids(&first).into_iter().chain(ids(&second)).collect();
        assert_eq!((both.len(), ids(&second).len()), (65, 35));
    }
}

#[tokio::test]
async fn dates_and_dialects() {
    let simulator = start(Options { dialect: Dialect::V3, ..Options::default() }).await;
    let page = read(&simulator, "?start_date=20260309&end_date=20260309").await;
    let truth = simulator.truth();
    let expected = truth.iter().filter(|item| item["created_at"].as_str().unwrap().starts_with("2026-03-09")).count();
    assert_eq!(ids(&page).len(), expected);
    assert_eq!(expected, 100);
    assert_eq!(ids(&read(&simulator, "").await).len(), 200);

    let simulator = start(Options { dialect: Dialect::Idcheck, ..Options::default() }).await;
    assert_eq!(ids(&read(&simulator, "").await).len(), 50);
    assert_eq!(ids(&read(&simulator, "?end_date=2026-03-07").await).len(), 0);
    assert_eq!(ids(&read(&simulator, "?start_date=2026-03-10&end_date=2026-03-08").await).len(), 0);
    let refused = get(&simulator, "?start_date=20260309").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let body: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(body, json!({"errorCode": "invalid_format", "message": "Invalid format: start_date"}));
    simulator.set_faults(faults("wrong-dates-everything"));
    assert_eq!(ids(&read(&simulator, "?start_date=20260309").await).len(), 50);
    simulator.set_faults(faults("wrong-dates-nothing"));
    assert_eq!(ids(&read(&simulator, "?start_date=20260309").await).len(), 0);
}

#[tokio::test]
async fn one_submission_and_searches() {
    let simulator = start(Options::default()).await;
    let truth = simulator.truth();
    let item = truth.iter().find(|item| item["email"].is_string() && item["userid"].is_string()).unwrap();
    let found = read(&simulator, &format!("?submission_id={}", id(item))).await;
    assert_eq!(no_links(found["Items"][0].clone()), no_links(item.clone()));
    for name in ["email", "userid"] {
        let value = item[name].as_str().unwrap();
        let found = read(&simulator, &format!("?{name}={value}")).await;
        let mut expected: Vec<_> = truth.iter().filter(|other| other[name] == item[name]).map(id).collect();
        expected.reverse();
        assert_eq!(ids(&found), expected);
    }
    assert_eq!(read(&simulator, "?submission_id=nobody").await, json!({"Items": []}));
    let approved = truth.iter().find(|item| item["applicant_id"].is_string()).unwrap();
    let same =
        read(&simulator, &format!("/applicant?applicant_id={}", approved["applicant_id"].as_str().unwrap())).await;
    assert!(same.as_array().unwrap().iter().any(|one| one["submission_id"] == approved["submission_id"]));
}

#[tokio::test]
async fn parameters_may_come_in_a_body() {
    let simulator = start(Options::default()).await;
    let request = reqwest::Client::new().get(format!("{}/submission?count=3", simulator.base_url()));
    let request = request.header("x-api-key", "simulated-key").body(r#"{"count":9,"start_date":"2026-03-10"}"#);
    let page: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(ids(&page).len(), 3);
    assert!(page["Items"][2]["created_at"].as_str().unwrap() > "2026-03-10");
    let request = reqwest::Client::new().get(format!("{}/submission", simulator.base_url()));
    let answer = request.header("x-api-key", "simulated-key").body("count=9").send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("invalid_payload"));
}

#[tokio::test]
async fn subsets_and_thin_lists() {
    let simulator = start(Options { thin_lists: true, ..Options::default() }).await;
    let truth: BTreeMap<_, _> = simulator.truth().into_iter().map(|item| (id(&item), item)).collect();
    assert!(truth.values().any(|item| item["aml"].is_object() && item["updated_at"].is_string()));
    for item in read(&simulator, "?count=200").await["Items"].as_array().unwrap() {
        assert!(item.get("aml").is_none() && item.get("updated_at").is_none() && item["kyc"].get("attempts").is_none());
        assert!(item["kyc"]["result"].is_string());
    }
    for subset in ["kyc", "aml", "data", "others"] {
        for item in read(&simulator, &format!("?count=200&request_type={subset}")).await["Items"].as_array().unwrap() {
            let whole = &truth[&id(item)];
            let expected: BTreeSet<_> = whole
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| match subset {
                    "others" => !matches!(key.as_str(), "kyc" | "aml" | "data"),
                    only => *key == only || *key == "submission_id",
                })
                .collect();
            assert_eq!(item.as_object().unwrap().keys().collect::<BTreeSet<_>>(), expected);
        }
    }
    let with_aml = truth.values().find(|item| item["aml"].is_object()).unwrap();
    let whole = read(&simulator, &format!("?submission_id={}", id(with_aml))).await;
    assert_eq!(whole["Items"][0]["aml"], with_aml["aml"]);
    assert_eq!(get(&simulator, "?request_type=all").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(get(&simulator, "?kyc_result=all").await.status(), StatusCode::BAD_REQUEST);
}
