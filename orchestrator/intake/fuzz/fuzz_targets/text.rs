//! `cargo +nightly fuzz run text`, from the crate's folder. `tests/generated.rs` does the same with known inputs.
#![no_main]

#[path = "../../tests/checks/mod.rs"]
mod checks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| checks::check(text, &checks::rules()));
