use proptest::prelude::*;

use super::*;

fn split_wanted(pieces: &[&[u8]], wanted: Wanted) -> Vec<Line> {
    let mut splitter = LineSplitter::default();
    let mut lines = Vec::new();
    for piece in pieces {
        splitter.push_wanted(piece, wanted, |line| lines.push(line));
    }
    lines.extend(splitter.finish());
    lines
}

fn split(pieces: &[&[u8]]) -> Vec<Line> {
    split_wanted(pieces, Wanted::Every)
}

fn whole(text: &str) -> Line {
    Line::Whole(text.to_owned())
}

#[test]
fn lines_are_joined_across_pieces() {
    let lines = split(&[b"one\r\ntw", b"o\n\nthree"]);
    assert_eq!(lines, [whole("one"), whole("two"), whole("three")]);
}

#[test]
fn an_endless_line_keeps_its_beginning_and_counts_the_rest() {
    let piece = vec![b'x'; 100_000];
    let pieces: Vec<&[u8]> = (0..30).map(|_| piece.as_slice()).collect();
    let lines = split(&pieces);
    let [Line::Cut { head, dropped }] = lines.as_slice() else { panic!("{}", lines.len()) };
    assert_eq!((head.len(), *dropped), (KEPT_OF_LONG_LINE, 3_000_000 - KEPT_OF_LONG_LINE as u64));
}

#[test]
fn a_line_after_an_endless_one_is_whole_again() {
    let long = vec![b'x'; 2_000_000];
    let lines = split(&[&long, b"\nnext\n"]);
    assert_eq!((lines.len(), &lines[1]), (2, &whole("next")));
}

#[test]
fn a_long_line_of_json_keeps_its_shape() {
    let text = "\u{1}é😀\"\\".repeat(400_000);
    let event = serde_json::json!({"type": "result", "result": text, "usage": {"output_tokens": 7}});
    let ascii = event.to_string().replace('😀', "\\ud83d\\ude00").replace('é', "\\u00e9");
    for long in [event.to_string(), ascii] {
        for piece in [1_000, 65_536] {
            let pieces: Vec<&[u8]> = long.as_bytes().chunks(piece).collect();
            let lines = split(&pieces);
            let [Line::Cut { head, dropped }] = lines.as_slice() else { panic!("{}", lines.len()) };
            assert_eq!(head.len() as u64 + dropped, long.len() as u64);
            let read: serde_json::Value = serde_json::from_str(head).unwrap();
            assert_eq!(read["usage"]["output_tokens"], 7);
            let kept = read["result"].as_str().unwrap();
            assert!(
                kept.len() > 10_000 && text.starts_with(kept),
                "{} {}",
                kept.len(),
                &kept[kept.len() - 20..]
            );
        }
    }
}

#[test]
fn a_line_of_json_that_is_long_without_long_texts_is_cut() {
    let long = format!("{{\"a\": [{}]}}\n", "1234567, ".repeat(300_000));
    let lines = split(&[long.as_bytes()]);
    let [Line::Cut { head, dropped }] = lines.as_slice() else { panic!("{}", lines.len()) };
    assert_eq!(head.len(), KEPT_OF_LONG_LINE);
    assert_eq!(head.len() as u64 + dropped + 1, long.len() as u64);
}

#[test]
fn only_the_last_lines_are_handed_out_when_no_others_are_wanted() {
    let wanted = Wanted::Last(2);
    assert_eq!(split_wanted(&[b"a\nb\nc\n\nd\r\n\n\n"], wanted), [whole("c"), whole("d")]);
    assert_eq!(split_wanted(&[b"a\nb\nc\nd\ne"], wanted), [whole("d"), whole("e")]);
    assert_eq!(split_wanted(&[b"a", b"b\nc\nd\n"], wanted), [whole("c"), whole("d")]);
    assert_eq!(split_wanted(&[b"a", b"b\nc\n", b"d"], wanted), [whole("ab"), whole("c"), whole("d")]);
}

proptest! {
    #[test]
    fn the_last_lines_are_the_same_however_the_others_are_passed_over(
        text in "[ab\n\r]{0,60}", piece in 1usize..20, count in 1usize..4
    ) {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
        let every = split(&pieces);
        let last = split_wanted(&pieces, Wanted::Last(count));
        let end = |lines: &[Line]| -> String { format!("{:?}", &lines[lines.len() - count.min(lines.len())..]) };
        prop_assert_eq!(end(&every), end(&last));
    }
}
