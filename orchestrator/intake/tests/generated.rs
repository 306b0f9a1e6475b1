//! The fuzz target's checks on generated texts: the same ones on every run, on a stable compiler.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod checks;

use checks::{check, rules};

/// What tricks are made of.
const PIECES: [&str; 64] = [
    "/cloud-code",
    "/cloud-code ",
    "/cc ",
    "@agent",
    "@cloud-code ",
    "/CLOUD-code",
    "run",
    "run ",
    "cancel",
    "cancle ",
    "ask ",
    "handoff ",
    "config ",
    "model ",
    "claude-code ",
    "codex ",
    "cdex ",
    "--model ",
    "--budget 3 ",
    "--base=main ",
    "--",
    "— ",
    "text ",
    "a",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    " ",
    "    ",
    "\t",
    "> ",
    ">",
    "- ",
    "1. ",
    "# ",
    "---\n",
    "===\n",
    "```",
    "~~~\n",
    "`",
    "*",
    "**",
    "_",
    "~~",
    "[",
    "](b)",
    "![",
    "](b \"t\")",
    "[a]: b\n",
    "[^1]",
    "[^1]: ",
    "| ",
    "|-|\n",
    "<!--",
    "-->",
    "<details>",
    "</details>",
    "<p title='x'>",
    "\u{200B}",
    "&#47;",
    "\\",
    "$$",
    "é",
];

/// How many texts are read. With the next figure that takes two to three seconds of one core, unoptimised.
const TEXTS: usize = 250_000;

/// One in so many is put through all checks, which read and write each text many times over.
const ALL_CHECKS: usize = 25;

/// A small generator of numbers with a known start; the texts need variety, not secrecy.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }
}

#[test]
fn nothing_that_can_be_written_breaks_the_rules() {
    let rules = rules();
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut commands = 0_usize;
    for index in 0..TEXTS {
        let mut text = String::new();
        for _ in 0..=numbers.below(11) {
            text.push_str(PIECES[numbers.below(PIECES.len())]);
        }
        commands += usize::from(matches!(cloud_code_intake::parse(&text, &rules), Ok(Some(_))));
        if index % ALL_CHECKS == 0 {
            check(&text, &rules);
        }
    }
    // Texts that are never commands would show nothing.
    assert!(commands > TEXTS / 50, "only {commands} of {TEXTS} texts were commands");
}
