//! The canonical form of an item: two items are the same state exactly when their canonical forms are equal.
//!
//! What does not matter: key order; null, absent or, at the item's first level, an object without members; the form of a
//! number (`99`, `99.0`, and `"99"` in the documented number fields); more than microseconds in the documented times; one
//! text or a list of one in the documented lists; the two spellings of a field in [`ALIASES`]; links that may expire. Every
//! other text matters as it is.
//!
//! No canonical form is stored. Both sides of every comparison are made of items as they were sent, by the same code, so a
//! release that changes the form makes no versions and no events by itself. Version ids are hashes of the form: a chain goes
//! on from the id that is stored.

use serde_json::{Map, Number, Value};

use super::field::{ALIASES, CHILDREN, Field, Kind, SUBMISSION};
use super::time;

/// Brings an item into its canonical form.
pub fn canonical(item: &Value) -> Value {
    let mut state = tidy(item);
    for (object, other, documented) in ALIASES {
        if let Some(Value::Object(map)) = at_mut(&mut state, object)
            && !map.contains_key(*documented)
            && let Some(value) = map.remove(*other)
        {
            map.insert((*documented).to_owned(), value);
        }
    }
    if let Some(list) = state.get_mut("additional_list")
        && list.is_object()
    {
        *list = Value::Array(vec![list.take()]);
    }
    for field in SUBMISSION {
        normalise(&mut state, field);
    }
    for (path, fields) in CHILDREN {
        match at_mut(&mut state, path) {
            Some(Value::Array(list)) => {
                list.iter_mut().for_each(|child| fields.iter().for_each(|field| normalise(child, field)));
            }
            Some(child) => fields.iter().for_each(|field| normalise(child, field)),
            None => {}
        }
    }
    if let Value::Object(members) = &mut state {
        // What is left of `data` when all of it was removed: the documents do not say which of the two the vendor shows.
        members.retain(|_, member| !member.as_object().is_some_and(Map::is_empty));
    }
    state
}

/// Drops null members and writes every number in its one decimal form.
fn tidy(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, v)| !v.is_null());
            Value::Object(kept.map(|(k, v)| (k.clone(), tidy(v))).collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.iter().map(tidy).collect()),
        Value::Number(n) => decimal(n.as_str()).map_or_else(|| value.clone(), Value::Number),
        other => other.clone(),
    }
}

fn normalise(object: &mut Value, field: &Field) {
    let Some((last, parents)) = field.path.split_last() else { return };
    let Some(Value::Object(map)) = at_mut(object, parents) else { return };
    if field.kind == Kind::Link {
        map.remove(*last);
        return;
    }
    let Some(value) = map.get_mut(*last) else { return };
    let normal = match (field.kind, &*value) {
        (Kind::Decimal, Value::String(text)) => decimal(text.trim()).map(Value::Number),
        (Kind::Time, Value::String(text)) => time::parse(text).map(|at| Value::String(time::format(at))),
        (Kind::TextList, Value::String(text)) => Some(Value::Array(vec![Value::String(text.clone())])),
        _ => None,
    };
    if let Some(normal) = normal {
        *value = normal;
    }
}

/// The value at a path of object members.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn at_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, key| value.get_mut(key))
}

/// Reads a decimal number of any size and writes it in its one form: no leading or trailing zeros, an exponent only
/// where plain digits would be longer than 40 characters. `None` if the text is not a number.
pub fn decimal(text: &str) -> Option<Number> {
    const PLAIN: i64 = 40;
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], unsigned[at + 1..].parse::<i64>().ok().filter(|e| e.abs() < 1 << 40)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_start_matches('0').trim_end_matches('0');
    if kept.is_empty() {
        return "0".parse().ok();
    }
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let exponent = exponent - fraction.len() as i64 + trailing as i64;
    let length = kept.len() as i64;
    let plain = if exponent >= 0 && length + exponent <= PLAIN {
        format!("{kept}{}", "0".repeat(exponent as usize))
    } else if exponent < 0 && -exponent < length {
        let (whole, fraction) = kept.split_at((length + exponent) as usize);
        format!("{whole}.{fraction}")
    } else if exponent < 0 && -exponent <= PLAIN {
        format!("0.{}{kept}", "0".repeat((-exponent - length) as usize))
    } else {
        format!("{kept}e{exponent}")
    };
    format!("{}{plain}", if negative { "-" } else { "" }).parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for (text, expected) in [
            ("99", "99"),
            ("99.0", "99"),
            ("099.50", "99.5"),
            ("1e2", "100"),
            ("0.0012", "0.0012"),
            ("12e-4", "0.0012"),
            ("-0", "0"),
            ("-1.50E1", "-15"),
            ("1e400", "1e+400"),
            ("10e399", "1e+400"),
            (".5", "0.5"),
            ("+5", "5"),
        ] {
            assert_eq!(decimal(text).unwrap().as_str(), expected, "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "e1",
            "1e",
            "abc",
            "1,5",
            "0x1",
            "NaN",
            "١",
            "+-5",
            "1e1099511627776",
            "1e99999999999999999999",
        ] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_of_more_than_40_digits_have_an_exponent() {
        let plain = |text: &str| decimal(text).unwrap().as_str().to_owned();
        assert_eq!(plain("1e39"), format!("1{}", "0".repeat(39)));
        assert_eq!(plain("1e40"), "1e+40");
        assert_eq!(plain("1e-40"), format!("0.{}1", "0".repeat(39)));
        assert_eq!(plain("1e-41"), "1e-41");
        let long = "1".repeat(41);
        assert_eq!(plain(&format!("{long}.0")), plain(&long));
        assert_eq!(plain(&format!("{long}.5")), format!("{long}.5"), "the digits are there anyway");
    }

    #[test]
    fn what_does_not_matter_is_equal() {
        let a = json!({
            "submission_id": "s", "created_at": "2022-04-07T00:30:35.919Z", "email": null, "userid": "99.0",
            "kyc": {"result": "rejected", "comment": "x", "attempts": [{"attemptCnt": 1, "livenessScore": "91", "selfieImage": "https://a/1"}]},
            "bank_verification": {"retry_countj": 2.0}, "injection_action": {"type": "address"}, "data": {"email": null},
            "additional_list": {"answer": "a"}, "image": {"idImage": "https://a/2"}
        });
        let b = json!({
            "kyc": {"attempts": [{"livenessScore": 91.00, "attemptCnt": 1.0}], "comment": ["x"], "result": "rejected"},
            "userid": "99.0", "additional_list": [{"answer": "a"}], "created_at": "2022-04-07T09:30:35.9190000+09:00",
            "Injection_action": {"type": "address"}, "bank_verification": {"retry_count": "2"}, "submission_id": "s"
        });
        assert_eq!(canonical(&a), canonical(&b));
    }

    #[test]
    fn every_other_text_matters_as_it_is() {
        for (a, b) in [
            (json!({"userid": "99"}), json!({"userid": "99.0"})),
            (json!({"userid": "99"}), json!({"userid": 99})),
            (json!({"kyc": {"comment": ["x"]}}), json!({"kyc": {"comment": ["x "]}})),
            (json!({"data": {"name": "a"}}), json!({"data": {"name": "A"}})),
            (json!({"data": {"x": {}}}), json!({})),
        ] {
            assert_ne!(canonical(&a), canonical(&b));
        }
    }

    proptest! {
        #[test]
        fn canonical_is_idempotent_and_decimal_keeps_the_value(digits in "[0-9]{1,12}", point in 0usize..12, zeros in "0{0,5}") {
            let point = point.min(digits.len());
            let text = format!("{}.{}{zeros}", &digits[..point], &digits[point..]);
            let once = decimal(&text).unwrap();
            let again = decimal(once.as_str());
            prop_assert_eq!(again.as_ref(), Some(&once));
            let expected: f64 = text.parse().unwrap();
            prop_assert!((once.as_str().parse::<f64>().unwrap() - expected).abs() <= expected.abs() * 1e-12);
            let item = json!({"kyc": {"attempts": [{"livenessScore": text}]}});
            let state = canonical(&item);
            prop_assert_eq!(canonical(&state), state);
        }
    }
}
