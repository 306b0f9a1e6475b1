//! What a project has decided about being spoken to.

use std::collections::BTreeSet;

use cloud_code_model::Actor;
use cloud_code_task_schema::CliName;

/// The settings that reading needs, gathered from configuration by the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// What a command begins with: `/cloud-code`.
    pub prefix: String,
    /// What it may begin with instead: `/cc`, `@agent`.
    pub aliases: Vec<String>,
    /// The account that we write with, if it is ours alone: an App's bot or a machine's account. With a person's own
    /// token this is `None`: that person's comments are commands, and only the marker tells them from ours.
    pub bot: Option<Actor>,
    /// The person whose token we write with, where we are no App. Whoever assigns this person asks for work, unless it is
    /// the person: who takes an issue for themselves means to do it themselves.
    pub account: Option<Actor>,
    /// Our App.
    pub app_id: Option<u64>,
    /// Bots of others that are listened to, by id.
    pub listed_bots: BTreeSet<u64>,
    /// Labels that ask for work.
    pub ready_labels: Vec<String>,
    /// Assigning the bot asks for work.
    pub on_assignment: bool,
    /// Naming the bot with `@` asks for work.
    pub on_mention: bool,
    /// A review of our pull request that asks for changes gets them.
    pub on_changes_requested: bool,
    /// A failing check of our pull request is repaired.
    pub on_failing_checks: bool,
    /// What our branches begin with, as `cloud-code/`.
    pub branch_prefix: String,
    /// The coding CLIs that can be named.
    pub clis: Vec<CliName>,
}

impl Rules {
    /// Everything a command may begin with, the longest first, so that `/cc` never hides `/cc-test`.
    pub(crate) fn prefixes(&self) -> Vec<String> {
        let mut prefixes = vec![self.prefix.clone()];
        prefixes.extend(self.aliases.iter().cloned());
        if self.on_mention
            && let Some(handle) = self.handle()
        {
            prefixes.push(format!("@{handle}"));
        }
        prefixes.retain(|prefix| !prefix.trim().is_empty());
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        prefixes.dedup();
        prefixes
    }

    /// How people mention the bot: without the `[bot]` that GitHub puts behind the login of an App.
    pub(crate) fn handle(&self) -> Option<&str> {
        let login = &self.bot.as_ref()?.login;
        let handle = login.strip_suffix("[bot]").unwrap_or(login);
        (!handle.is_empty()).then_some(handle)
    }
}
