//! The forms that a known secret can take in a text.

/// Shorter ones would be found in ordinary words.
const SHORTEST: usize = 8;
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The value itself, its lines (a key is often shown line by line, or with its line ends escaped), percent-encoded,
/// JSON-escaped, and the part of its base64 that is the same wherever it starts in what is encoded.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let mut forms = Vec::new();
    let secret = secret.trim();
    let lines = secret.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    for value in std::iter::once(secret).chain(lines) {
        if value.len() < SHORTEST || forms.iter().any(|known| known == value) {
            continue;
        }
        forms.push(percent(value, |b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)));
        forms.push(
            serde_json::to_string(value)
                .map_or_else(|_| value.to_owned(), |json| json.trim_matches('"').to_owned()),
        );
        for alphabet in [STANDARD, URL_SAFE] {
            forms.extend((0..3).map(|before| core(value.as_bytes(), before, alphabet)));
        }
        forms.push(value.to_owned());
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

fn percent(value: &str, plain: impl Fn(u8) -> bool) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut out, byte| {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// The base64 characters that depend on the value alone when `before` (modulo 3) bytes stand before it. The one or two
/// at each end share their bits with a neighbour; left standing they give away less than a byte.
fn core(value: &[u8], before: usize, alphabet: &[u8; 64]) -> String {
    let skip_bits = (6 - (before * 8) % 6) % 6;
    let bits = value.len() * 8;
    let mut out = String::with_capacity(bits / 6);
    let mut at = skip_bits;
    while at + 6 <= bits {
        let pair = u16::from(value[at / 8]) << 8 | u16::from(value.get(at / 8 + 1).copied().unwrap_or(0));
        let index = usize::from(pair >> (10 - at % 8) & 0x3f);
        out.push(char::from(alphabet[index]));
        at += 6;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_cores_are_those_of_the_encoded_text() {
        // `printf 'pass:word:12'`, after 0, 1 and 2 other bytes, through base64.
        let cores: Vec<_> = (0..3).map(|before| core(b"pass:word:12", before, STANDARD)).collect();
        assert_eq!(cores, ["cGFzczp3b3JkOjEy", "Bhc3M6d29yZDoxM", "wYXNzOndvcmQ6MT"]);
    }
}
