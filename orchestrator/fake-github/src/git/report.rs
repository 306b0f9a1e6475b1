//! Puts GitHub's reasons into git's report of a push.

use std::collections::BTreeMap;

/// Replaces the reason of each `ng` line for which there is one. What is no report is left as it is.
pub(crate) fn explain(answer: &[u8], reasons: &BTreeMap<String, String>) -> Vec<u8> {
    if reasons.is_empty() {
        return answer.to_vec();
    }
    let Some(packets) = packets(answer) else { return answer.to_vec() };
    let banded = packets.iter().flatten().next().is_some_and(|data| matches!(data.first(), Some(1..=3)));
    if !banded {
        return rewrite(answer, reasons).unwrap_or_else(|| answer.to_vec());
    }
    let mut out = Vec::new();
    let mut report = Vec::new();
    for data in packets.iter().flatten() {
        match data.split_first() {
            Some((1, rest)) => report.extend_from_slice(rest),
            _ => write_packet(&mut out, data),
        }
    }
    let report = rewrite(&report, reasons).unwrap_or(report);
    for chunk in report.chunks(65_000) {
        write_packet(&mut out, &[&[1], chunk].concat());
    }
    out.extend_from_slice(b"0000");
    out
}

fn rewrite(report: &[u8], reasons: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for packet in packets(report)? {
        let Some(data) = packet else {
            out.extend_from_slice(b"0000");
            continue;
        };
        let text = String::from_utf8_lossy(data);
        let refused = text.strip_prefix("ng ").and_then(|rest| rest.split(' ').next());
        match refused.and_then(|name| reasons.get(name).map(|reason| (name, reason))) {
            Some((name, reason)) => write_packet(&mut out, format!("ng {name} {reason}\n").as_bytes()),
            None => write_packet(&mut out, data),
        }
    }
    Some(out)
}

fn write_packet(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(format!("{:04x}", data.len() + 4).as_bytes());
    out.extend_from_slice(data);
}

/// The packets of a stream, `None` for a flush.
fn packets(mut bytes: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from_str_radix(std::str::from_utf8(bytes.get(..4)?).ok()?, 16).ok()?;
        if length < 4 {
            found.push(None);
            bytes = &bytes[4..];
        } else {
            found.push(Some(bytes.get(4..length)?));
            bytes = &bytes[length..];
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_ref_gets_githubs_reason() {
        let mut report = Vec::new();
        write_packet(&mut report, b"unpack ok\n");
        write_packet(&mut report, b"ng refs/heads/main hook declined\n");
        write_packet(&mut report, b"ok refs/heads/other\n");
        report.extend_from_slice(b"0000");
        let mut answer = Vec::new();
        write_packet(&mut answer, &[&[2], &b"error: GH006\n"[..]].concat());
        write_packet(&mut answer, &[&[1], &report[..]].concat());
        answer.extend_from_slice(b"0000");
        let reasons =
            BTreeMap::from([("refs/heads/main".to_owned(), "protected branch hook declined".to_owned())]);
        let text = String::from_utf8(explain(&answer, &reasons)).unwrap();
        assert!(text.contains("error: GH006\n"), "{text}");
        assert!(text.contains("ng refs/heads/main protected branch hook declined\n"), "{text}");
        assert!(text.contains("ok refs/heads/other\n"), "{text}");
        assert!(packets(text.as_bytes()).is_some());
    }
}
