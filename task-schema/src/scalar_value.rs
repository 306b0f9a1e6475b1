//! What a plain YAML word means: the core schema of YAML 1.2, chapter 10.3.2, which is what editors check with.
//!
//! `yes`, `on` and `1:30` are text there, as they were not in YAML 1.1. `.inf` and `.nan` are text here: no number of
//! ours is infinite.

/// The meaning of a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// `null`, `~` or nothing at all.
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

/// What the word means; a word that is not `plain` stood in quotes or in a block and is text.
pub(crate) fn resolve(text: &str, plain: bool) -> Scalar<'_> {
    if !plain {
        return Scalar::Text(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        word => number(word).unwrap_or(Scalar::Text(word)),
    }
}

fn number(word: &str) -> Option<Scalar<'_>> {
    let based = |digits: &str, base| {
        let all_digits = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
        all_digits.then(|| u64::from_str_radix(digits, base).ok()).flatten().map(Scalar::Unsigned)
    };
    if let Some(digits) = word.strip_prefix("0x") {
        return based(digits, 16);
    }
    if let Some(digits) = word.strip_prefix("0o") {
        return based(digits, 8);
    }
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned);
    let rest = unsigned.get(whole..)?;
    if rest.is_empty() && whole > 0 {
        // `+7` and `007` are 7. Beyond 64 bits only a float holds it.
        let integer = word.parse().map(Scalar::Unsigned).or_else(|_| word.parse().map(Scalar::Signed));
        return integer.ok().or_else(|| finite(word));
    }
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => (digits(after), after.get(digits(after)..)?),
        None => (0, rest),
    };
    if whole + fraction == 0 {
        return None;
    }
    let exponent_ok = match rest.strip_prefix(['e', 'E']) {
        Some(exponent) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        None => rest.is_empty(),
    };
    exponent_ok.then(|| finite(word)).flatten()
}

fn finite(word: &str) -> Option<Scalar<'_>> {
    word.parse().ok().filter(|value: &f64| value.is_finite()).map(Scalar::Float)
}

#[cfg(test)]
mod tests {
    use super::Scalar::{Bool, Float, Null, Signed, Text, Unsigned};
    use super::*;

    #[test]
    fn words_mean_what_yaml_1_2_says() {
        let cases = [
            ("", Null),
            ("~", Null),
            ("null", Null),
            ("true", Bool(true)),
            ("FALSE", Bool(false)),
            ("tRUE", Text("tRUE")),
            ("yes", Text("yes")),
            ("off", Text("off")),
            ("0", Unsigned(0)),
            ("+7", Unsigned(7)),
            ("007", Unsigned(7)),
            ("-7", Signed(-7)),
            ("0x1F", Unsigned(31)),
            ("0o17", Unsigned(15)),
            ("0x", Text("0x")),
            ("0x+1", Text("0x+1")),
            ("18446744073709551615", Unsigned(u64::MAX)),
            ("18446744073709551616", Float(18_446_744_073_709_551_616.0)),
            ("1.5", Float(1.5)),
            ("1.", Float(1.0)),
            (".5", Float(0.5)),
            ("-.5e3", Float(-500.0)),
            ("4e18", Float(4e18)),
            (".", Text(".")),
            ("-", Text("-")),
            ("e3", Text("e3")),
            ("1e", Text("1e")),
            ("1e999", Text("1e999")),
            (".inf", Text(".inf")),
            (".nan", Text(".nan")),
            ("nan", Text("nan")),
            ("1_000", Text("1_000")),
            ("1:30", Text("1:30")),
            ("2026-11-20T10:00:00Z", Text("2026-11-20T10:00:00Z")),
            ("4e18bcb7", Text("4e18bcb7")),
            ("90s", Text("90s")),
        ];
        for (word, expected) in cases {
            assert_eq!(resolve(word, true), expected, "{word}");
            assert_eq!(resolve(word, false), Text(word));
        }
    }
}
