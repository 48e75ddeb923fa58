//! `nextpageKey`: read as a key that can be sent back, as the end of the list, or as an error; never as another's end.

#![no_main]

use argos_sync::argos::envelope::Page;
use argos_sync::argos::query::Query;
use argos_sync::config::Dialect;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(Ok(key)) = std::str::from_utf8(data).map(serde_json::from_str::<Value>) else { return };
    let body = [b"{\"Items\":[],\"nextpageKey\":", data, b"}"].concat();
    let Ok(page) = Page::split(body, None, 10, false) else { return };
    let ends = key.is_null() || key.as_object().is_some_and(serde_json::Map::is_empty);
    assert_eq!(page.next.is_none(), ends);
    let Some(next) = page.next else { return };
    let query = Query { cursor: Some(next.clone()), ..Query::default() };
    let sent = query.parameters(Dialect::Idcheck);
    assert_eq!(sent, [("nextpage_id", next.id), ("nextpage_date", next.created_at)]);
    assert!(sent.iter().all(|(_, text)| text.len() <= 1024 && !text.chars().any(char::is_control)));
    for (part, (_, text)) in ["id", "created_at"].into_iter().zip(&sent) {
        assert!(key[part].as_str().is_none_or(|as_sent| as_sent == text), "byte for byte");
    }
});
