//! `approve` and `reject` of a pull request that waits to be merged. The word is stored; `serve`, which speaks to the forge,
//! acts on it as on one that was said there.

use anyhow::{Result, bail};
use cloud_code_model::{Approver, Issue, MergeHold, MergeWord, Published, PullState, TaskState};
use cloud_code_store::ForgeStore;
use jiff::Timestamp;

use crate::app::App;
use crate::args::ResumeArgs;
use crate::{settings, ui};

/// Stores somebody's word, if the newest task of the issue is done and its pull request is merged from here. False where it is
/// about something else.
pub(crate) async fn say(app: &App, args: &ResumeArgs, word: MergeWord) -> Result<bool> {
    let store = app.store().await?;
    let issue: Issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    let record = app.newest_task(&store, &issue).await?;
    let Some(thread) = store.thread_of_issue(&issue.project, &issue.key).await? else { return Ok(false) };
    let published = &thread.published;
    let (TaskState::Done { .. }, Some(pull), Some(known)) =
        (&record.state, &published.pull, &published.merging)
    else {
        return Ok(false);
    };
    if pull.state != PullState::Open || published.of.as_ref() != Some(&issue.key) {
        return Ok(false);
    }
    let (name, short) =
        (format!("{}#{}", issue.project, issue.key), known.head_sha.get(..12).unwrap_or_default());
    if matches!(known.hold, MergeHold::NotOurs | MergeHold::OtherBase { .. }) {
        bail!(
            "{name} is not merged from here: the status comment says why\n  hint: merge {} by hand",
            pull.url
        );
    }
    let own = settings::project(&app.home, &issue.project)?.unwrap_or_default();
    if own.over(app.settings.defaults.clone()).publish.merge.is_none() {
        bail!(
            "{name} is not merged from here any more: the project names no `publish.merge`\n  hint: merge {} by hand",
            pull.url
        );
    }
    let now = Timestamp::now();
    let mut note = |published: &mut Published| {
        if let Some(merging) = published.merging.as_mut().filter(|now| now.head_sha == known.head_sha) {
            merging.say_now(word, Approver::CommandLine, now);
        }
    };
    store.change_published(&thread.project, thread.number, &mut note).await?;
    let (url, head) = (ui::one_line(&pull.url), ui::one_line(short));
    ui::out(match word {
        MergeWord::Yes => format!(
            "{name}: yes to merging commit {head}. `cloud-code serve` merges {url} when its checks are green and nothing else \
             is in its way"
        ),
        MergeWord::No => format!("{name}: no to merging commit {head}. {url} stays open, its work is kept"),
    });
    Ok(true)
}
