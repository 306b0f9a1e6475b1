//! Reads a type from a located document and tells everything that is wrong with it.
//!
//! serde stops at the first refusal; so the reader starts anew with a stand-in ([`crate::filler`]) for what was refused,
//! until nothing new is found. What has stand-ins in it is thrown away: only a document without a problem has a value.

use std::cell::RefCell;

use serde::de::DeserializeOwned;

use crate::filler::CANDIDATES;
use crate::key_path::{Path, Step, render};
use crate::locate::Document;
use crate::problem::{Mark, Problem, quoted};
use crate::reader::Reader;
use crate::refusal::{Refusal, RefusalKind, did_you_mean, listed, nearest};

/// Problems told at once. A person mends a screenful, then looks again; a hostile file must not buy more work.
const MAX_PROBLEMS: usize = 20;
/// How often a document is read at most. Each problem costs one reading, or a few when stand-ins do not fit.
const MAX_READINGS: usize = 60;

/// What to do with a key that a type does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownKeys {
    /// Refuse it: a misspelt limit is no limit.
    Refuse,
    /// Leave it out: a newer program may have written it.
    Tolerate,
}

/// What stands at a place instead of the refused value.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) steps: Vec<Step>,
    /// Which of the candidates; past the last one, the key or item is left out.
    candidate: usize,
}

impl Fill {
    /// A place read as if nothing stood there.
    pub(crate) fn left_out(steps: Vec<Step>) -> Self {
        Self { steps, candidate: CANDIDATES.len() }
    }

    /// A place read with the first stand-in.
    pub(crate) fn first(steps: Vec<Step>) -> Self {
        Self { steps, candidate: 0 }
    }

    /// The text to try; `None` when the key or item is left out.
    pub(crate) fn text(&self) -> Option<&'static str> {
        CANDIDATES.get(self.candidate).copied()
    }
}

/// A key that its type does not know.
#[derive(Debug)]
pub(crate) struct Unknown {
    pub(crate) parent: Vec<Step>,
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) known: &'static [&'static str],
}

impl Unknown {
    fn path(&self, key: &str) -> String {
        let mut steps = self.parent.clone();
        steps.push(Step::Key(key.to_owned()));
        render(&steps)
    }

    fn problem(&self) -> Problem {
        let hint = match nearest(&self.key, self.known) {
            Some(near) => did_you_mean(near),
            None if self.known.is_empty() => "no key is known here".to_owned(),
            None => format!("known keys: {}", listed(self.known)),
        };
        Problem {
            mark: self.mark,
            key: self.path(&self.key),
            message: format!("unknown key {}", quoted(&self.key)),
            hint: Some(hint),
        }
    }
}

/// What one reading knows and finds.
#[derive(Debug)]
pub(crate) struct Reading<'r> {
    pub(crate) fills: &'r [Fill],
    pub(crate) unknown_keys: UnknownKeys,
    pub(crate) unknown: RefCell<Vec<Unknown>>,
}

impl Reading<'_> {
    /// The stand-in for a place.
    pub(crate) fn fill(&self, path: &Path<'_>) -> Option<&Fill> {
        self.fills.iter().find(|fill| path.is(&fill.steps))
    }

    /// Notes a key that its type does not know.
    pub(crate) fn note_unknown(
        &self,
        parent: &Path<'_>,
        key: &str,
        mark: Mark,
        known: &'static [&'static str],
    ) {
        let mut unknown = self.unknown.borrow_mut();
        if self.unknown_keys == UnknownKeys::Refuse && unknown.len() < MAX_PROBLEMS {
            unknown.push(Unknown { parent: parent.steps(), key: key.to_owned(), mark, known });
        }
    }
}

/// Reads the document's value as a `T`.
pub(crate) fn read<T: DeserializeOwned>(
    document: &Document<'_>,
    unknown_keys: UnknownKeys,
) -> Result<T, Vec<Problem>> {
    let mut findings = Findings::default();
    for _ in 0..MAX_READINGS {
        let reading = Reading { fills: &findings.fills, unknown_keys, unknown: RefCell::default() };
        let result = Reader::of(document, &reading)
            .and_then(|reader| T::deserialize(reader).map_err(|refusal| reader.at(refusal)));
        findings.add_unknown(reading.unknown.into_inner());
        match result {
            Ok(value) if findings.is_empty() && document.duplicates.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(refusal) => {
                if findings.add(refusal) == Next::Stop || findings.refused.len() >= MAX_PROBLEMS {
                    break;
                }
            }
        }
    }
    Err(findings.problems(document))
}

/// For a time that cannot be read; the library says which digit it stumbled over.
const TIME_HINT: &str = "write the time as `2026-11-20T10:00:00Z`";

/// Keys of times end in `_at` everywhere in this product, and so say more than the refused text does.
pub(crate) fn time_hint(steps: &[Step]) -> Option<String> {
    let is_time = matches!(steps.last(), Some(Step::Key(key)) if key == "at" || key.ends_with("_at"));
    is_time.then(|| TIME_HINT.to_owned())
}

/// The message for a key that is not there. It names the key too: not everyone who shows it shows the path.
pub(crate) fn missing(key: &str) -> String {
    format!("the required key `{key}` is missing")
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Again,
    Stop,
}

/// What all readings found.
#[derive(Debug, Default)]
struct Findings {
    fills: Vec<Fill>,
    unknown: Vec<Unknown>,
    refused: Vec<Problem>,
    missing: Vec<Problem>,
}

impl Findings {
    fn is_empty(&self) -> bool {
        self.fills.is_empty() && self.unknown.is_empty() && self.refused.is_empty() && self.missing.is_empty()
    }

    fn add_unknown(&mut self, found: Vec<Unknown>) {
        for new in found {
            let old = |old: &Unknown| old.key == new.key && old.parent == new.parent;
            if self.unknown.len() < MAX_PROBLEMS && !self.unknown.iter().any(old) {
                self.unknown.push(new);
            }
        }
    }

    fn add(&mut self, refusal: Refusal) -> Next {
        let Some(place) = refusal.place else {
            let (message, mark) = (refusal.to_string(), Mark { line: 1, column: 1 });
            self.refused.push(Problem { mark, key: String::new(), message, hint: None });
            return Next::Stop;
        };
        let mut steps = place.steps;
        match refusal.kind {
            RefusalKind::Filler => return self.try_next(&steps),
            RefusalKind::UnknownKey { key, known } => {
                steps.pop();
                let unknown = Unknown { parent: steps.clone(), key: key.clone(), mark: place.mark, known };
                self.add_unknown(vec![unknown]);
                steps.push(Step::Key(key));
                return self.fill(steps, CANDIDATES.len());
            }
            RefusalKind::Missing { key } => {
                steps.push(Step::Key(key.to_owned()));
                if self.fills.iter().any(|fill| fill.steps == steps) {
                    return Next::Stop;
                }
                let message = missing(key);
                self.missing.push(Problem { mark: place.mark, key: render(&steps), message, hint: None });
            }
            // A key that its map does not take stays wrong with any value.
            RefusalKind::Value { .. } if self.fills.iter().any(|fill| fill.steps == steps) => {
                return self.try_next(&steps);
            }
            RefusalKind::Value { message, hint } => {
                let hint = hint.or_else(|| time_hint(&steps));
                self.refused.push(Problem { mark: place.mark, key: render(&steps), message, hint });
            }
        }
        self.fill(steps, 0)
    }

    fn fill(&mut self, steps: Vec<Step>, candidate: usize) -> Next {
        let known = self.fills.iter().any(|fill| fill.steps == steps);
        if steps.is_empty() || known {
            return Next::Stop;
        }
        self.fills.push(Fill { steps, candidate });
        Next::Again
    }

    fn try_next(&mut self, steps: &[Step]) -> Next {
        match self.fills.iter_mut().find(|fill| fill.steps == steps) {
            Some(fill) if fill.candidate < CANDIDATES.len() => {
                fill.candidate += 1;
                Next::Again
            }
            Some(_) | None => Next::Stop,
        }
    }

    fn problems(self, document: &Document<'_>) -> Vec<Problem> {
        let mut problems = document.duplicates.clone();
        problems.extend(self.refused);
        // A misspelt key is one problem, not a missing key and an unknown one.
        let meant = |found: &Unknown| nearest(&found.key, found.known).map(|near| found.path(near));
        let meant: Vec<String> = self.unknown.iter().filter_map(meant).collect();
        problems.extend(self.missing.into_iter().filter(|missing| !meant.contains(&missing.key)));
        problems.extend(self.unknown.iter().map(Unknown::problem));
        problems
    }
}
