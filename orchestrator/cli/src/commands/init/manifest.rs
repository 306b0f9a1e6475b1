//! The App as GitHub is asked to make it.

use cloud_code_forge::ManifestSpec;
use cloud_code_model::IntakeMode;
use cloud_code_server::WEBHOOK_PATH;
use serde_json::Value;

/// Where an App without a public address has its calls sent. It must have an address or GitHub keeps no log of what it
/// would have sent, and that log is what is read instead. `.invalid` never resolves (RFC 2606), so nobody receives it.
const NOWHERE: &str = "https://cloud-code.invalid";

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
    /// Where the App's webhooks go; nowhere when lists are read.
    pub(crate) fn webhook_url(&self) -> Option<String> {
        match self.intake {
            IntakeMode::Webhook | IntakeMode::Deliveries => Some(webhook_url(self.public_url)),
            IntakeMode::Polling => None,
        }
    }

    /// The manifest. `back` is where GitHub sends the browser afterwards.
    pub(crate) fn manifest(&self, back: &str) -> Value {
        cloud_code_forge::manifest(&ManifestSpec {
            name: self.name.to_owned(),
            url: self.public_url.unwrap_or(env!("CARGO_PKG_REPOSITORY")).to_owned(),
            description: "Does what /cloud-code comments ask for, and opens pull requests.".to_owned(),
            webhook_url: self.webhook_url(),
            redirect_url: back.to_owned(),
            public: false,
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
    use serde_json::json;

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
        let polling = AppPlan { intake: IntakeMode::Polling, ..plan.clone() };
        assert_eq!(polling.manifest("http://127.0.0.1:1/callback")["hook_attributes"]["active"], false);
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
}
