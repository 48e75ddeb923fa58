//! The faults.

use std::collections::BTreeSet;

use super::super::*;
use super::*;

#[tokio::test]
async fn faults_that_replace_the_answer() {
    let simulator = start(Options::default()).await;
    for (name, status, part) in [
        ("status-429", 429, "Too Many"),
        ("status-500", 500, "Internal"),
        ("status-502", 502, "<html>"),
        ("status-503", 503, ""),
        ("status-504", 504, "timed out"),
        ("status-401", 401, ""),
        ("status-413", 413, "Too Large"),
        ("forbidden-key", 403, r#""message":"Forbidden""#),
        ("forbidden-address", 403, "explicit deny"),
        ("html-200", 200, "<html>"),
        ("error-200", 200, "processing_error"),
        ("message-200", 200, "Internal"),
        ("encrypted", 200, "isEncrypted"),
        ("empty", 200, r#"{"Items":[]}"#),
    ] {
        simulator.set_faults(faults(&format!("{name}=1")));
        let answer = get(&simulator, "").await;
        assert_eq!(answer.status().as_u16(), status, "{name}");
        assert!(answer.text().await.unwrap().contains(part), "{name}");
        assert_eq!(ids(&read(&simulator, "").await).len(), 50, "{name} was only once");
    }
    simulator.set_faults(faults("retry-after-seconds=7"));
    assert_eq!(get(&simulator, "").await.headers()["retry-after"], "7");
    simulator.set_faults(faults("retry-after-date=60"));
    assert_eq!(get(&simulator, "").await.headers()["retry-after"], "Tue, 10 Mar 2026 12:01:00 GMT");
    simulator.set_faults(faults("wrong-content-type,clock-skew=-86400"));
    let answer = get(&simulator, "").await;
    assert_eq!(
        (&answer.headers()["content-type"], &answer.headers()["date"]),
        (&"text/plain".parse().unwrap(), &"Mon, 09 Mar 2026 12:00:00 GMT".parse().unwrap())
    );
}

#[tokio::test]
async fn faults_of_the_connection() {
    let simulator = start(Options::default()).await;
    simulator.set_faults(faults("truncated-json"));
    let text = get(&simulator, "").await.text().await.unwrap();
    assert!(serde_json::from_str::<Value>(&text).is_err());
    simulator.set_faults(faults("reset"));
    assert!(get(&simulator, "").await.text().await.is_err());
    simulator.set_faults(faults("endless-body"));
    let mut answer = get(&simulator, "").await;
    let mut length = 0;
    while length < 5_000_000 {
        length += answer.chunk().await.unwrap().unwrap().len();
    }
    drop(answer);
    simulator.set_faults(faults("stall"));
    let url = format!("{}/submission", simulator.base_url());
    let asked = reqwest::Client::new().get(url).timeout(Duration::from_millis(200)).send().await;
    assert!(asked.unwrap_err().is_timeout());
    assert_eq!(simulator.requests().last().unwrap().status, 0);
    simulator.set_faults(faults("slow=150"));
    let began = std::time::Instant::now();
    read(&simulator, "").await;
    assert!(began.elapsed() >= Duration::from_millis(150));
    simulator.stop().await.unwrap();
}

#[tokio::test]
async fn faults_of_paging() {
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let simulator = start(Options { order, initial: 100, ..Options::default() }).await;
        let all: BTreeSet<_> = simulator.truth().iter().map(id).collect();
        let seen = |pages: &[Value]| pages.iter().flat_map(ids).collect::<Vec<_>>();
        simulator.set_faults(faults("empty-page-with-key"));
        let pages = walk(&simulator, "count=25", 50).await;
        assert_eq!(pages.iter().map(|page| ids(page).len()).collect::<Vec<_>>(), [0, 25, 0, 25, 0, 25, 0, 25]);
        assert_eq!(seen(&pages).into_iter().collect::<BTreeSet<_>>(), all);
        simulator.set_faults(faults("repeat-key"));
        let pages = walk(&simulator, "count=25", 5).await;
        assert!(pages.iter().all(|page| page["nextpageKey"] == pages[0]["nextpageKey"]));
        simulator.set_faults(faults("cycle-key"));
        let pages = walk(&simulator, "count=25", 5).await;
        assert_eq!(pages[0]["nextpageKey"], pages[2]["nextpageKey"]);
        assert_eq!(pages[1]["nextpageKey"], pages[3]["nextpageKey"]);
        assert_ne!(pages[0]["nextpageKey"], pages[1]["nextpageKey"]);
        simulator.set_faults(faults("duplicates"));
        assert_eq!(seen(&walk(&simulator, "count=25", 50).await).len(), 103);
        simulator.set_faults(faults("count-clip=10"));
        assert_eq!(walk(&simulator, "count=25", 50).await.len(), 10);
        simulator.set_faults(faults("shuffle"));
        let (one, two) = (walk(&simulator, "count=25", 50).await, walk(&simulator, "count=25", 50).await);
        assert_ne!(seen(&one), seen(&two));
        assert_eq!(ids(&one[1]).into_iter().collect::<BTreeSet<_>>(), ids(&two[1]).into_iter().collect());
        assert_eq!(seen(&one).into_iter().collect::<BTreeSet<_>>(), all);
    }
}

#[tokio::test]
async fn faults_of_dates_and_items() {
    let simulator = start(Options::default()).await;
    let day = "?count=200&start_date=2026-03-09&end_date=2026-03-09";
    simulator.set_faults(faults("kst-dates"));
    let page = read(&simulator, day).await;
    let times: Vec<_> =
        page["Items"].as_array().unwrap().iter().map(|item| item["created_at"].as_str().unwrap()).collect();
    assert!(times.iter().all(|at| ("2026-03-08T15:00:00".."2026-03-09T15:00:00").contains(at)) && times.len() == 100);
    simulator.set_faults(faults("ignore-dates"));
    assert_eq!(ids(&read(&simulator, day).await).len(), 200);
    simulator.set_faults(faults("updated-dates"));
    for item in read(&simulator, day).await["Items"].as_array().unwrap() {
        let at = item["updated_at"].as_str().or(item["created_at"].as_str()).unwrap();
        assert!(at.starts_with("2026-03-09"));
    }
    simulator.set_faults(faults("index-lag=3600"));
    let newest = read(&simulator, "?count=1").await["Items"][0]["created_at"].as_str().unwrap().to_owned();
    assert!(*newest < *"2026-03-10T11:00:00.001Z");
    simulator.set_faults(faults("bad-item"));
    let page = read(&simulator, "?count=10").await;
    let items = page["Items"].as_array().unwrap();
    assert!(items.len() == 12 && items[0].get("submission_id").is_none() && items[11].is_string());
    assert!(items[10]["reviewer"].is_object());
    simulator.set_faults(faults("null-chars,huge-number"));
    let text = get(&simulator, "?count=10").await.text().await.unwrap();
    assert!(text.contains(r"\u0000\ud800") && text.contains(":1e400"));
    simulator.set_faults(faults("retyped"));
    let page = read(&simulator, "?count=200").await;
    assert!(page["Items"].as_array().unwrap().iter().any(|item| item["kyc"]["comment"].is_string()));
    assert!(page["Items"].as_array().unwrap().iter().any(|item| item["additional_list"].is_object()));
    assert!(page.to_string().contains("retry_countj"));
}

#[tokio::test]
async fn days_are_compared_in_any_zone_and_the_end_can_be_left_out() {
    let simulator = start(Options { initial: 0, ..Options::default() }).await;
    for hour in 0..72 {
        let at = format!("2026-03-{:02}T{:02}:30:00.000Z", 1 + hour / 24, hour % 24);
        simulator.put(serde_json::json!({"submission_id": format!("h{hour:02}"), "created_at": at}));
    }
    let hours = async |fault: &str, query: &str| {
        simulator.set_faults(faults(fault));
        let served: BTreeSet<String> = ids(&read(&simulator, query).await).into_iter().collect();
        (served.first().cloned().unwrap_or_default(), served.len())
    };
    let day = "?start_date=2026-03-02&end_date=2026-03-02&count=100";
    assert_eq!(hours("", day).await, ("h24".to_owned(), 24));
    assert_eq!(hours("dates-offset=9", day).await, ("h15".to_owned(), 24));
    assert_eq!(hours("dates-offset=-5", day).await, ("h29".to_owned(), 24));
    assert_eq!(hours("end-excluded", day).await, (String::new(), 0));
    let two = "?start_date=2026-03-01&end_date=2026-03-02&count=100";
    assert_eq!(hours("end-excluded", two).await, ("h00".to_owned(), 24));
    assert_eq!(hours("end-excluded,dates-offset=-5", two).await, ("h05".to_owned(), 24));
    assert_eq!(hours("ignore-count", "?count=2").await.1, 72);
}
