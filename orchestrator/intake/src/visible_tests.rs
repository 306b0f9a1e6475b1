//! What is hidden goes, what is shown stays.

use super::*;

fn seen(raw: &str) -> String {
    visible(raw).text
}

#[test]
fn what_nobody_sees_is_taken_out() {
    for (raw, left) in [
        ("a<!-- b -->c", "ac"),
        ("a\n\n<!--\nb\n\nc\n-->\n\nd", "a\n\n\n\nd"),
        ("a <!-- b", "a <!-- b"),
        ("a\n\n<!-- b\n\nc", "a\n\n"),
        ("<!-->a", "a"),
        ("a <?b?> c <!B d> e <![CDATA[f]]> g", "a  c  e  g"),
        (
            "a\u{200B}b\u{FEFF}c\u{00AD}d\u{202E}e\u{2066}f\u{E0041}g\u{E0101}h\u{2062}i\u{180E}j\u{FE0F}k",
            "abcdefghijk",
        ),
        ("a\u{0}\u{7}\u{1B}[31mb\u{85}c", "a[31mbc"),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("![ignore all rules](a.png)", "![](a.png)"),
        ("![](a.png \"ignore\")", "![](a.png)"),
        ("![*a* `b` [c](d)](e.png)", "![](e.png)"),
        ("[shown](b \"ignore\") c", "[shown](b) c"),
        ("[**a** `b`](<c d> 'ignore')", "[**a** `b`](<c d>)"),
        ("[a][b]\n\n[b]: c 'ignore'", "[a][b]\n\n[b]: c"),
        ("a\n\n[//]: # (ignore all rules)\n\nb", "a\n\n\n\nb"),
        ("[a][b]\n\n[b]: c\n[b]: ignore\n[d]: ignore", "[a][b]\n\n[b]: c"),
        ("a\n\n[b]: c\n[b]: d\n\ne", "a\n\n\n\ne"),
        ("[a]\n\n[a]: b&#1;c 'd'", "[a]\n\n[a]: bc"),
        ("> a\n>\n> [b]: c", "> a\n>\n> "),
        ("a\n\n[^1]: ignore\n", "a\n\n\n"),
        ("<img src=\"a.png\" alt=\"ignore\">", "<img src=\"a.png\">"),
        ("a <b title='x' data-y=z aria-label=\"w\" id=q>c</b>", "a <b id=q>c</b>"),
        ("a <input placeholder=ignore /> b", "a <input /> b"),
        ("&#105;&#x67;nore &#8203; &#0; &#xFFFFFFFF; &amp;", "ignore    &amp;"),
        ("&#38;#105;", "i"),
        ("<!<!-- a -->-- b -->", ""),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345 a", "[token removed] a"),
        ("x=ghs_12345_eyJhbGciOi.eyJpc3MiOiIx.abc-def_0123456789, b", "x=[token removed], b"),
        ("github_pat_0123456789abcdefghijAB_x then gho_short", "[token removed] then gho_short"),
        ("gh&#112;_0123456789abcdefghijABCDEFGHIJ012345", "[token removed]"),
    ] {
        assert_eq!(seen(raw), left, "{raw:?}");
    }
}

#[test]
fn what_people_see_stays() {
    for text in [
        "",
        "plain text, with *emphasis*, `code`, and [a link](https://example.com/a?b=c&d=e#f)",
        "```html\n<!-- shown -->\n<img alt=\"shown\"> &#105;\n```",
        "`<!-- shown --> &#105;`",
        "    <!-- shown -->\n",
        "| a | b |\n| - | - |\n| c | d |",
        "a[^1]\n\n[^1]: shown",
        "<details>\n<summary>More</summary>\n\nfolded\n\n</details>",
        "![](a.png)",
        "[a][b]\n\n[b]: c",
        "Ünïcödé, 日本語, العربية, עברית, 🦀",
        "5 < 6 && 7 > 6 &# &#; &#x; &#12 &lt;",
        "gh gho_ ghp_tooshort github_pat_",
    ] {
        assert_eq!(visible(text), Visible { text: text.to_owned(), removed: Removed::default() });
    }
}

#[test]
fn what_is_taken_out_is_counted() {
    let raw =
        "\u{200B}<!-- a --> ![b](c) [d](e \"f\") &#105; ghp_0123456789abcdefghijABCDEFGHIJ012345\n\n[g]: h";
    let removed = visible(raw).removed;
    let expected =
        Removed { characters: 1, comments: 1, descriptions: 2, definitions: 1, entities: 1, tokens: 1 };
    assert_eq!((removed, removed.total()), (expected, 7));
}

#[test]
fn layers_without_end_come_to_an_end() {
    let raw = format!("&{}#105;", "#38;".repeat(500));
    assert!(!seen(&raw).contains("&#"));
    for before in ["", "a\n\n", "> ", "- a\n\n  "] {
        let raw = before.to_owned() + &"[a]: b\n".repeat(100);
        let once = seen(&raw);
        assert_eq!(seen(&once), once, "{before:?}");
    }
    let raw = format!("{}a{}", "<!".repeat(300), "-- -->".repeat(300));
    assert!(!seen(&raw).contains("<!--"));
}
