//! Tokens by their look, in what the agent itself writes into the history.
//!
//! The host refuses commits whose message holds one, because a push cannot be called back. A CLI that repeats in its summary
//! what it read somewhere would so lose the whole work. The agent's own messages therefore go without. A commit that the
//! CLI made is left as it is: its id is known, and the host decides.

/// What stands in a token's place.
const MASK: &str = "***";

/// How a token looks: where it begins, what it goes on with, and from how many characters on it is one. Never narrower than
/// what the host looks for.
struct Form {
    begins: &'static [&'static str],
    goes_on: fn(char) -> bool,
    least: usize,
}

const FORMS: [Form; 5] = [
    Form {
        begins: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        goes_on: |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'),
        least: 36,
    },
    Form { begins: &["github_pat_"], goes_on: |c| c.is_ascii_alphanumeric() || c == '_', least: 22 },
    Form {
        begins: &["sk-ant-"],
        goes_on: |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'),
        least: 20,
    },
    Form { begins: &["AKIA", "ASIA"], goes_on: |c| matches!(c, 'A'..='Z' | '2'..='7'), least: 16 },
    Form {
        begins: &["xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-"],
        goes_on: |c| c.is_ascii_alphanumeric() || c == '-',
        least: 10,
    },
];

const KEY_BEGINS: &str = "-----BEGIN ";
const KEY_NAMED: &str = "PRIVATE KEY-----";
/// Longest kind of key between the two, as `RSA ` or `ENCRYPTED `.
const MAX_KEY_KIND: usize = 40;

/// The text without tokens. What follows a private key's first line goes with it, to its last line or to the end.
pub(crate) fn without_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let is_inside = out.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let length = match is_inside {
            false => token(rest).or_else(|| private_key(rest)),
            true => private_key(rest),
        };
        let (kept, after) = rest.split_at(length.unwrap_or(next.len_utf8()));
        out.push_str(if length.is_some() { MASK } else { kept });
        rest = after;
    }
    out
}

/// The length of the token that the text begins with.
fn token(text: &str) -> Option<usize> {
    FORMS.iter().find_map(|form| {
        let begin = form.begins.iter().find(|begin| text.starts_with(**begin))?.len();
        let tail = text.get(begin..)?;
        // Every character of a form is one byte.
        let length = tail.find(|c| !(form.goes_on)(c)).unwrap_or(tail.len());
        (length >= form.least).then_some(begin + length)
    })
}

fn private_key(text: &str) -> Option<usize> {
    let named = text.strip_prefix(KEY_BEGINS)?;
    let kind = named.find(KEY_NAMED).filter(|length| *length <= MAX_KEY_KIND)?;
    let is_kind = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ';
    if !named.get(..kind)?.chars().all(is_kind) {
        return None;
    }
    let head = KEY_BEGINS.len() + kind + KEY_NAMED.len();
    let body = text.get(head..)?;
    let end = body.find(KEY_NAMED).map(|end| end + KEY_NAMED.len()).unwrap_or(body.len());
    Some(head + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_and_words_stay() {
        let long = "a1B2".repeat(10);
        let key = format!("-----BEGIN RSA {}{long}\n-----END RSA {}", KEY_NAMED.to_owned() + "\n", KEY_NAMED);
        let cases = [
            (format!("Use ghs_{long}.{long}-x, then"), "Use ***, then".to_owned()),
            (format!("github_pat_{long}"), "***".to_owned()),
            (format!("`sk-ant-api03-{long}`"), "`***`".to_owned()),
            ("AKIAQWERTYUIOPASDFGH".to_owned(), "***".to_owned()),
            ("xoxb-1234567890-abcdef".to_owned(), "***".to_owned()),
            (format!("The key:\n{key}\nends"), "The key:\n***\nends".to_owned()),
            (format!("{KEY_BEGINS}{KEY_NAMED}\ncut sho"), "***".to_owned()),
            ("ghp_short and sk-ant- and xox-".to_owned(), "ghp_short and sk-ant- and xox-".to_owned()),
            (format!("high_ghp_{long}"), format!("high_ghp_{long}")),
            ("-----BEGIN PUBLIC KEY-----".to_owned(), "-----BEGIN PUBLIC KEY-----".to_owned()),
            ("grüße – 好".to_owned(), "grüße – 好".to_owned()),
        ];
        for (text, expected) in cases {
            assert_eq!(without_tokens(&text), expected);
        }
    }
}
