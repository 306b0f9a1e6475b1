//! The App as GitHub is asked to make it: what it may, and what it is told.

use serde_json::{Value, json};

use cloud_code_model::IntakeMode;

/// What the App may, with the reason a person is given. Not among them: `workflows` (a push that changes CI is meant to be
/// refused), `administration`, `secrets`, `members`, `actions`.
pub(crate) const PERMISSIONS: [(&str, Need, &str); 6] = [
    ("metadata", Need::Read, "to see the repository and who may push to it"),
    ("contents", Need::Write, "to fetch the code and push a branch"),
    ("issues", Need::Write, "to comment, react and set labels"),
    ("pull_requests", Need::Write, "to open and update pull requests and answer reviews"),
    ("checks", Need::Write, "to show progress beside a pull request and see which checks fail"),
    ("statuses", Need::Read, "to see which checks of older kinds of CI fail"),
];
/// What the App is told of. Its own installations are told without being asked for.
pub(crate) const EVENTS: [&str; 7] = [
    "issues",
    "issue_comment",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "check_suite",
    "push",
];
/// Where GitHub calls, below the public address.
pub(crate) const WEBHOOK_PATH: &str = "/webhooks/github";
/// Where an App without a public address has its calls sent. It must have an address or GitHub keeps no log of what it
/// would have sent, and that log is what is read instead. `.invalid` never resolves (RFC 2606), so nobody receives it.
const NOWHERE: &str = "https://cloud-code.invalid";

/// How much of a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Looking.
    Read,
    /// Changing.
    Write,
}

impl Need {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Whether what was granted suffices.
    pub(crate) fn is_met_by(self, granted: Option<&str>) -> bool {
        match (self, granted) {
            (Self::Read, Some("read")) | (_, Some("write" | "admin")) => true,
            (Self::Read | Self::Write, Some(_) | None) => false,
        }
    }
}

/// What the person chose for the App.
#[derive(Debug, Clone)]
pub(crate) struct AppPlan<'a> {
    pub(crate) name: &'a str,
    /// An organisation; without one the App belongs to the person.
    pub(crate) owner: Option<&'a str>,
    pub(crate) public_url: Option<&'a str>,
    pub(crate) intake: IntakeMode,
}

/// The address that GitHub calls.
pub(crate) fn webhook_url(public_url: Option<&str>) -> String {
    format!("{}{WEBHOOK_PATH}", public_url.unwrap_or(NOWHERE))
}

impl AppPlan<'_> {
    /// The manifest. `back` is where GitHub sends the browser afterwards.
    pub(crate) fn manifest(&self, back: &str) -> Value {
        let permissions: serde_json::Map<String, Value> =
            PERMISSIONS.iter().map(|(name, need, _)| ((*name).to_owned(), need.as_str().into())).collect();
        let active = match self.intake {
            IntakeMode::Webhook | IntakeMode::Deliveries => true,
            IntakeMode::Polling => false,
        };
        json!({
            "name": self.name,
            "url": self.public_url.unwrap_or(env!("CARGO_PKG_REPOSITORY")),
            "description": "Does what /cloud-code comments ask for, and opens pull requests.",
            "hook_attributes": {"url": webhook_url(self.public_url), "active": active},
            "redirect_url": back,
            "public": false,
            "default_permissions": permissions,
            "default_events": EVENTS,
        })
    }

    /// The page that takes the manifest.
    pub(crate) fn new_app_page(&self, web: &str, state: &str) -> String {
        match self.owner {
            Some(owner) => format!("{web}/organizations/{owner}/settings/apps/new?state={state}"),
            None => format!("{web}/settings/apps/new?state={state}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_may_no_more_than_it_needs() {
        let plan =
            AppPlan { name: "acme-agent", owner: None, public_url: None, intake: IntakeMode::Deliveries };
        let manifest = plan.manifest("http://127.0.0.1:1/callback");
        assert_eq!(
            manifest["default_permissions"],
            json!({"metadata": "read", "contents": "write", "issues": "write", "pull_requests": "write", "checks": "write", "statuses": "read"})
        );
        assert_eq!(manifest["public"], false);
        assert_eq!(
            manifest["hook_attributes"],
            json!({"url": "https://cloud-code.invalid/webhooks/github", "active": true})
        );
        assert_eq!(
            plan.new_app_page("https://github.com", "s"),
            "https://github.com/settings/apps/new?state=s"
        );
        let of_org = AppPlan { owner: Some("acme"), ..plan };
        assert_eq!(
            of_org.new_app_page("https://github.com", "s"),
            "https://github.com/organizations/acme/settings/apps/new?state=s"
        );
    }

    #[test]
    fn more_than_needed_is_enough_and_less_is_not() {
        for (need, granted, met) in [
            (Need::Read, Some("read"), true),
            (Need::Read, Some("write"), true),
            (Need::Write, Some("read"), false),
            (Need::Write, Some("admin"), true),
            (Need::Read, None, false),
        ] {
            assert_eq!(need.is_met_by(granted), met, "{need:?} {granted:?}");
        }
    }
}
