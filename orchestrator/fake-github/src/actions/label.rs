//! Labels on issues, and who is assigned.

use serde_json::json;

use crate::call::Actor;
use crate::state::World;

impl World {
    /// Puts labels on; those that are there already say nothing.
    pub(crate) fn add_labels(
        &mut self,
        repo: u64,
        number: u64,
        actor: Actor,
        names: &[String],
    ) -> Option<()> {
        self.thread(repo, number)?;
        for name in names {
            let name = self.ensure_label(repo, name);
            let new = self.change_thread(repo, number, |thread| {
                let new = !thread.labels.contains(&name);
                if new {
                    thread.labels.push(name.clone());
                }
                new
            })?;
            if new {
                self.post_label("labeled", repo, number, actor, &name);
            }
        }
        Some(())
    }

    /// Takes a label off; `None` when it is not on it.
    pub(crate) fn remove_label(&mut self, repo: u64, number: u64, actor: Actor, name: &str) -> Option<()> {
        let on = self.thread(repo, number)?.labels.iter().find(|on| on.eq_ignore_ascii_case(name))?.clone();
        self.change_thread(repo, number, |thread| thread.labels.retain(|label| *label != on))?;
        self.post_label("unlabeled", repo, number, actor, &on);
        Some(())
    }

    /// Makes the labels exactly these.
    pub(crate) fn set_labels(
        &mut self,
        repo: u64,
        number: u64,
        actor: Actor,
        names: &[String],
    ) -> Option<()> {
        let gone: Vec<String> = self
            .thread(repo, number)?
            .labels
            .iter()
            .filter(|on| !names.iter().any(|name| name.eq_ignore_ascii_case(on)))
            .cloned()
            .collect();
        for name in gone {
            self.remove_label(repo, number, actor, &name)?;
        }
        self.add_labels(repo, number, actor, names)
    }

    fn post_label(&mut self, action: &str, repo: u64, number: u64, actor: Actor, name: &str) {
        let Some(label) =
            self.repo(repo).and_then(|known| known.label(name).map(|label| self.label_json(known, label)))
        else {
            return;
        };
        self.post_issue(action, repo, number, actor, json!({"label": label}));
    }

    pub(crate) fn assign(&mut self, repo: u64, number: u64, actor: Actor, user: u64, on: bool) -> Option<()> {
        let changed = self.change_thread(repo, number, |thread| {
            let there = thread.assignees.contains(&user);
            if on && !there {
                thread.assignees.push(user);
            }
            if !on {
                thread.assignees.retain(|id| *id != user);
            }
            there != on
        })?;
        if changed {
            let assignee = self.user_json(Some(user));
            let action = if on { "assigned" } else { "unassigned" };
            self.post_issue(action, repo, number, actor, json!({"assignee": assignee}));
        }
        Some(())
    }
}
