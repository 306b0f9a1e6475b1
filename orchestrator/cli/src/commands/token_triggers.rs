//! What starts work with a person's token and what does not. A token has no App that could be mentioned or assigned, and
//! whoever waits for a mention to be heard should know that it never is.

use cloud_code_model::{ProjectName, Triggers};

/// Something that is otherwise with a token, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Otherwise {
    pub(crate) told: String,
    pub(crate) instead: String,
}

/// For one project, by its settings; `login` is whose token it is.
pub(crate) fn otherwise(project: &ProjectName, triggers: &Triggers, login: &str) -> Vec<Otherwise> {
    let file = format!("projects/{project}.yaml");
    let mut all = Vec::new();
    if triggers.mention && !triggers.aliases.iter().any(|alias| alias.starts_with('@')) {
        all.push(Otherwise {
            told: format!(
                "{project}: mentioning @{login} starts nothing, because there is no App to mention"
            ),
            instead: format!(
                "write `{} …`, or add a name as `@agent` to `triggers.aliases` in {file}",
                triggers.prefix
            ),
        });
    }
    if triggers.assignment {
        all.push(Otherwise {
            told: format!("{project}: who assigns an issue to {login} starts work; {login} alone does not"),
            instead: format!("where {login} works on issues too, set `triggers.assignment: false` in {file}"),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_code_model::TriggerSettings;

    #[test]
    fn what_a_token_does_otherwise_is_told_with_what_to_do() {
        let project: ProjectName = "shop".parse().unwrap();
        let told = |triggers: TriggerSettings| {
            let all = otherwise(&project, &triggers.resolved(), "alice");
            all.into_iter().map(|one| format!("{} / {}", one.told, one.instead)).collect::<Vec<_>>()
        };
        assert_eq!(
            told(TriggerSettings::default()),
            [
                "shop: mentioning @alice starts nothing, because there is no App to mention / write `/cloud-code …`, or add \
                 a name as `@agent` to `triggers.aliases` in projects/shop.yaml",
                "shop: who assigns an issue to alice starts work; alice alone does not / where alice works on issues too, \
                 set `triggers.assignment: false` in projects/shop.yaml",
            ]
        );
        let settled = TriggerSettings {
            aliases: Some(vec!["@agent".to_owned()]),
            assignment: Some(false),
            ..TriggerSettings::default()
        };
        assert_eq!(told(settled), [] as [String; 0]);
    }
}
