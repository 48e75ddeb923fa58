//! What a JSON text will cost, told from the text: decoding would be too late.

/// What an item may weigh: the largest that the other limits let in, several times over.
pub(super) const HEAVIEST_ITEM: usize = 16 << 20;

/// What the items of a page may weigh together. A page is decoded whole, and in several copies.
pub(super) const HEAVIEST_PAGE: usize = 64 << 20;

/// An object with members takes a node of the map, however few they are.
const OBJECT: usize = 640;
/// A value in a list or an object, with its key.
const VALUE: usize = 96;

/// The memory that a JSON text takes once it is decoded, roughly: `[{"":0},{"":0}]` takes a hundred times its length.
pub(super) fn weight(json: &str) -> usize {
    let of = |byte| match byte {
        b'{' => OBJECT,
        b'[' | b',' => VALUE,
        _ => 0,
    };
    json.len() + outside_texts(json).map(|(_, byte)| of(byte)).sum::<usize>()
}

/// How many digits the exponents in a JSON text stand for.
pub(super) fn exponents(json: &str) -> usize {
    let bytes = json.as_bytes();
    let exponent = |(at, byte): (usize, u8)| {
        if !matches!(byte, b'e' | b'E') || at == 0 || !bytes[at - 1].is_ascii_digit() {
            return 0;
        }
        let digits = json[at + 1..].trim_start_matches(['+', '-']).bytes().take_while(u8::is_ascii_digit);
        digits.fold(0usize, |sum, digit| sum.saturating_mul(10).saturating_add((digit - b'0').into()))
    };
    outside_texts(json).map(exponent).fold(0, usize::saturating_add)
}

/// The deepest nesting of objects and lists in a JSON text.
pub(super) fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for (_, byte) in outside_texts(json) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The bytes of a JSON text that stand outside its texts in quotes, with their places.
fn outside_texts(json: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut in_text, mut escaped) = (false, false);
    json.bytes().enumerate().filter(move |(_, byte)| {
        let outside = !in_text;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ => {}
        }
        outside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_what_is_small_as_text_and_large_in_memory_weighs() {
        let heavy = format!("[{}]", vec![r#"{"":0}"#; 1000].join(","));
        assert!(weight(&heavy) > 90 * heavy.len());
        let light = format!("[\"{}\"]", "{[,".repeat(1000));
        assert_eq!(weight(&light), light.len() + VALUE);
        assert_eq!(weight(r#""\"{""#), 5);
    }
}
