use std::io::Write as _;

use proptest::prelude::*;

use super::*;

fn scrubber() -> Scrubber {
    Scrubber::new(["hunter2-hunter2/+&".into()])
}

#[test]
fn known_values_are_removed_in_every_form() {
    let clean = scrubber();
    for (text, wanted) in [
        ("key=hunter2-hunter2/+&.", "key=[secret removed]."),
        ("key=hunter2-hunter2%2F%2B%26.", "key=[secret removed]."),
        // `printf 'hunter2-hunter2/+&' | base64`
        ("aHVudGVyMi1odW50ZXIyLysm", "[secret removed]"),
        // `printf 'x:hunter2-hunter2/+&' | base64`: the first characters belong to `x:`.
        ("eDpodW50ZXIyLWh1bnRlcjIvKyY=", "eDp[secret removed]="),
        ("nothing here", "nothing here"),
    ] {
        let got = clean.scrub(text);
        assert!(!got.contains("hunter2-hunter2"), "{got}");
        if text.starts_with("eDpo") {
            assert!(got.contains(REMOVED), "{got}");
        } else {
            assert_eq!(got, wanted);
        }
    }
}

#[test]
fn patterns_know_the_secrets_of_others() {
    let clean = Scrubber::default();
    let token = format!("ghs_123456_eyJ{}.eyJ{}.{}", "a".repeat(120), "b".repeat(200), "c-_".repeat(60));
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAAAA\n-----END RSA PRIVATE KEY-----";
    let cases = [
        (format!("token {token} end"), "token [secret removed] end".to_owned()),
        (format!("ghp_{}", "a".repeat(36)), REMOVED.to_owned()),
        (format!("github_pat_{}_{}", "1A".repeat(11), "z".repeat(59)), REMOVED.to_owned()),
        ("sk-ant-api03-abcdefgh".to_owned(), REMOVED.to_owned()),
        (format!("sk-proj-{}", "Ab1".repeat(10)), REMOVED.to_owned()),
        ("AKIAIOSFODNN7EXAMPLE is a key".to_owned(), "[secret removed] is a key".to_owned()),
        ("xoxb-123456789012-abcdef".to_owned(), REMOVED.to_owned()),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN".to_owned(), REMOVED.to_owned()),
        (format!("a\n{key}\nb"), "a\n[secret removed]\nb".to_owned()),
        ("Authorization: Basic dXNlcjpwYXNz".to_owned(), "Authorization: Basic [secret removed]".to_owned()),
        (
            "\"authorization\": \"Bearer abc\"".to_owned(),
            "\"authorization\": \"Bearer [secret removed]\"".to_owned(),
        ),
        (
            "https://x-access-token:abc@github.com/a/b".to_owned(),
            "https://[secret removed]@github.com/a/b".to_owned(),
        ),
        ("https://abcdef@github.com/a/b".to_owned(), "https://[secret removed]@github.com/a/b".to_owned()),
        ("ssh://git@github.com/a/b".to_owned(), "ssh://git@github.com/a/b".to_owned()),
        ("the task-force asks a risk-averse team, see a@b.example".to_owned(), String::new()),
    ];
    for (text, wanted) in cases {
        let wanted = if wanted.is_empty() { text.clone() } else { wanted };
        assert_eq!(clean.scrub(&text), wanted);
    }
}

#[test]
fn the_lines_of_a_known_key_are_known() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nqwertyuiopasdfgh\n-----END RSA PRIVATE KEY-----\n";
    let clean = Scrubber::new([key.into()]);
    assert_eq!(clean.scrub("it ends in qwertyuiopasdfgh"), "it ends in [secret removed]");
    assert_eq!(clean.scrub(r"MIIEowIBAAKCAQEA\nqwertyuiopasdfgh"), r"[secret removed]\n[secret removed]");
}

#[test]
fn passing_values_are_learnt_and_give_way() {
    let clean = Scrubber::default();
    clean.learn("first-token-of-all".into());
    assert_eq!(clean.scrub("first-token-of-all"), REMOVED);
    for number in 0..MAX_PASSING {
        clean.learn(format!("another-token-{number}.").into());
    }
    assert_eq!(clean.scrub("first-token-of-all"), "first-token-of-all");
}

fn written(pieces: &[&[u8]]) -> String {
    let mut out = Vec::new();
    {
        let mut writer = ScrubbedWriter::new(&mut out, scrubber());
        for piece in pieces {
            writer.write_all(piece).unwrap();
            writer.flush().unwrap();
        }
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_value_split_over_two_writes_is_removed() {
    assert_eq!(written(&[b"a hunter2-hun", b"ter2/+& b\nc"]), "a [secret removed] b\nc");
    let key =
        [b"x -----BEGIN PRIVATE KEY-----\nMIIE\n".as_slice(), b"AAAA\n-----END PRIVATE KEY-----\nnext\n"];
    assert_eq!(written(&key), "x [secret removed]\nnext\n");
    let endless = vec![b'x'; MAX_LINE];
    assert_eq!(written(&[&endless, b" tail\n"]), "[secret removed] tail\n");
}

/// Beyond what the writer holds.
const MAX_LINE: usize = 300 * 1024;

proptest! {
    #[test]
    fn no_split_of_writes_lets_a_value_through(cut in 0usize..40, before in "[ -~]{0,10}", after in "[ -~]{0,10}") {
        let text = format!("{before}hunter2-hunter2/+&{after}\n");
        let cut = cut.min(text.len());
        let got = written(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
        prop_assert!(!got.contains("hunter2-hunter2"));
    }

    #[test]
    fn base64_of_anything_around_a_value_gives_it_away_nowhere(before in proptest::collection::vec(any::<u8>(), 0..9)) {
        let secret = "correct-horse-battery";
        let forms = values::forms(secret);
        let mut bytes = before;
        bytes.extend_from_slice(secret.as_bytes());
        let encoded = encode(&bytes);
        prop_assert!(forms.iter().any(|form| encoded.contains(form.as_str())), "{encoded}");
    }
}

fn encode(bytes: &[u8]) -> String {
    const TABLE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    bits.chunks(6)
        .map(|six| {
            let value = six.iter().fold(0usize, |sum, bit| sum << 1 | usize::from(*bit)) << (6 - six.len());
            char::from(TABLE[value])
        })
        .collect()
}
