//! The path of a key in a document, as `tasks[0].limits.timeout`.

use crate::problem::printable;

/// Characters of one key that a path shows; a stranger's key may be as long as the file.
const MAX_KEY_CHARS: usize = 64;

/// One step down a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The value of a key.
    Key(String),
    /// An item of a list, from 0.
    Index(usize),
}

/// A path that lives on the stack of whoever walks a document, so that the ordinary, error-free walk allocates nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    /// The document itself.
    Root,
    /// The value of a key.
    Key(&'p Path<'p>, &'p str),
    /// An item of a list.
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// The path as steps from the root.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut here = self;
        loop {
            match here {
                Path::Root => break,
                Path::Key(parent, key) => {
                    steps.push(Step::Key((*key).to_owned()));
                    here = parent;
                }
                Path::Index(parent, index) => {
                    steps.push(Step::Index(*index));
                    here = parent;
                }
            }
        }
        steps.reverse();
        steps
    }

    /// Whether it is the path of these steps.
    pub(crate) fn is(&self, steps: &[Step]) -> bool {
        match (self, steps.split_last()) {
            (Path::Root, None) => true,
            (Path::Key(parent, key), Some((Step::Key(step), rest))) => key == step && parent.is(rest),
            (Path::Index(parent, index), Some((Step::Index(step), rest))) => index == step && parent.is(rest),
            (Path::Root | Path::Key(..) | Path::Index(..), _) => false,
        }
    }
}

/// The steps as people write them; keys with anything but letters, digits, `_` and `-` stand in `["…"]`.
pub(crate) fn render(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) if is_plain(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Key(key) => text.push_str(&format!("[\"{}\"]", printable(key, MAX_KEY_CHARS))),
        }
    }
    text
}

fn is_plain(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !key.is_empty() && key.len() <= MAX_KEY_CHARS && key.bytes().all(plain)
}
