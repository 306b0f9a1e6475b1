//! aider, which offers the model no tools: what is to change stands as a block in the answer's text, and aider's own words
//! stand in the conversation as if a person and the model had said them.
//!
//! Everything here goes by the words of its prompts, for they are all that tells aider from any other client: its requests
//! name a library as their sender.

use std::collections::BTreeMap;

use crate::conversation::{Entry, ModelRequest};

mod blocks;

pub(crate) use blocks::answer;

/// What a request of aider is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Aider {
    /// The conversation about the task.
    Work(Blocks),
    /// A commit's message, or a summary of what was said so far.
    Side,
}

/// How an answer says what is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub(crate) format: Format,
    /// What stands before and after a block.
    pub(crate) fence: (String, String),
    /// The files that the request shows, by path.
    pub(crate) files: BTreeMap<String, String>,
}

/// aider's `--edit-format`, as far as it is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `diff` and `diff-fenced`: blocks of what is searched for and what takes its place.
    SearchReplace,
    /// `whole`: all of each file.
    Whole,
    /// None: a question was asked, and edits are not looked for.
    Ask,
}

/// How the prompts of its side requests begin.
const SIDE_PROMPTS: &[&str] = &[
    "You are an expert software engineer that generates concise, one-line Git commit messages",
    "*Briefly* summarize this partial conversation about programming",
];

/// How the messages begin that show files, in the user's role, and the rules that are said again. They follow a prompt
/// in one message where an API wants the roles to alternate.
const CONTEXT: &[&str] = &[
    "Here are summaries of some files present in my git repository.",
    "I am working with you on code in a git repository.",
    "I have *added these files to the chat*",
    "Here are some READ ONLY files, provided for your reference.",
    "Don't try and edit any existing code without asking me to add the files to the chat!",
    "I am not sharing any files that you can edit yet.",
    "I am not sharing the full contents of any files with you yet.",
    "# *SEARCH/REPLACE block* Rules:",
    "To suggest changes to a file you MUST return the entire content of the updated file.",
];

/// What it lets the model say to them.
const CONTEXT_ANSWERS: &[&str] = &[
    "Ok.",
    "Ok",
    "Ok, any changes I propose will be to those files.",
    "Ok, I won't try and edit those files without asking first.",
    "Ok, based on your requests I will suggest which files need to be edited and then stop and wait for your approval.",
    "Ok, I will use that as the true, current contents of the files.",
    "Ok, I will use these files as references.",
];

/// The person's message after the examples, which are about files of nobody's.
const AFTER_THE_EXAMPLES: &str = "I switched to a new code base.";

/// What it says instead of doing what an answer says, when that names files it has not shown: the same is to be said
/// again, with their contents known.
const FILES_ADDED: &str = "I added these files to the chat: ";

/// Whether a request is aider's, and for what. One for the task is rid of all that aider itself put into it.
pub(crate) fn recognise(request: &mut ModelRequest) -> Option<Aider> {
    if !request.tools.is_empty() {
        return None;
    }
    let prompt = request.surroundings.first()?;
    if SIDE_PROMPTS.iter().any(|start| prompt.starts_with(start)) {
        return Some(Aider::Side);
    }
    let format = format(prompt)?;
    let fence = fence(prompt);
    let (history, context) = without_context(&request.history);
    let files = context.iter().flat_map(|text| files(text, &fence)).collect();
    request.history = history;
    request.surroundings.extend(context);
    Some(Aider::Work(Blocks { format, fence, files }))
}

fn format(prompt: &str) -> Option<Format> {
    if prompt.contains("*SEARCH/REPLACE block*") {
        Some(Format::SearchReplace)
    } else if prompt.contains("*file listing*") {
        Some(Format::Whole)
    } else if prompt.contains("Act as an expert code analyst.\nAnswer questions about the supplied code.") {
        Some(Format::Ask)
    } else {
        None
    }
}

/// It chooses one that stands in none of the files that it shows.
fn fence(prompt: &str) -> (String, String) {
    let after = |mark: &str, end: &str| {
        let rest = prompt.split_once(mark)?.1;
        Some(rest.split(end).next()?.trim().to_owned())
    };
    let open = after("opening fence and code language, eg: ", "python")
        .or_else(|| after("- Second line: opening ", "\n"))
        .unwrap_or_else(|| "```".to_owned());
    let close = match open.strip_prefix('<') {
        Some(name) => format!("</{name}"),
        None => open.clone(),
    };
    (open, close)
}

/// What a person and the model said, and apart from it what aider said.
fn without_context(history: &[Entry]) -> (Vec<Entry>, Vec<String>) {
    let examples = history
        .iter()
        .position(|entry| matches!(entry, Entry::User { text } if text.starts_with(AFTER_THE_EXAMPLES)));
    let mut said = Vec::new();
    let mut context = Vec::new();
    for entry in &history[examples.map_or(0, |at| at + 1)..] {
        match entry {
            Entry::User { text } if text.starts_with(FILES_ADDED) => {
                // What was said before it was not done.
                if matches!(said.last(), Some(Entry::Assistant { .. })) {
                    said.pop();
                }
            }
            Entry::User { text } => {
                let cut = CONTEXT.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
                let (prompt, shown) = text.split_at(cut);
                if !prompt.trim().is_empty() {
                    said.push(Entry::User { text: prompt.trim_end().to_owned() });
                }
                if !shown.is_empty() {
                    context.push(shown.to_owned());
                }
            }
            Entry::Assistant { text, call_ids: _ } if CONTEXT_ANSWERS.contains(&text.trim()) => {}
            // A history that was read from its file has lost what stood between the two.
            Entry::Assistant { .. } if matches!(said.last(), Some(Entry::Assistant { .. })) => {}
            Entry::Assistant { .. } | Entry::ToolResult => said.push(entry.clone()),
        }
    }
    (said, context)
}

/// The files that a message shows: the path on a line of its own, then the content between fences.
fn files(text: &str, (open, close): &(String, String)) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(&format!("\n{open}\n")) {
        let path = before.lines().next_back().unwrap_or_default();
        let end = format!("{close}\n");
        let content = match after.strip_prefix(&end) {
            Some(_) => "",
            // On the last line where the file does not end with a newline.
            None => match after.find(&format!("\n{end}")) {
                Some(at) => &after[..=at],
                None => after.split(end.as_str()).next().unwrap_or(after),
            },
        };
        files.push((path.to_owned(), content.to_owned()));
        rest = after[content.len()..].strip_prefix(close.as_str()).unwrap_or("");
    }
    files
}

#[cfg(test)]
mod tests;
