use serde_json::{Map, Value, json};

use super::{node_id, optional_time, time};
use crate::state::{Installation, Permissions, World};

impl World {
    /// An `integration`, or null.
    pub(crate) fn app_json(&self, id: Option<u64>) -> Value {
        let Some(app) = id.and_then(|id| self.app(id)) else { return Value::Null };
        json!({
            "id": app.id,
            "slug": app.slug,
            "node_id": node_id("App", app.id),
            "owner": self.user_json(Some(app.owner)),
            "name": app.name,
            "description": "",
            "external_url": format!("{}/apps/{}/about", self.web_url, app.slug),
            "html_url": format!("{}/apps/{}", self.web_url, app.slug),
            "created_at": time(app.created_at),
            "updated_at": time(app.created_at),
            "permissions": permissions_json(&app.permissions),
            "events": app.events,
        })
    }

    pub(crate) fn installation_json(&self, installation: &Installation) -> Value {
        let app = self.app(installation.app);
        let account = self.user(installation.account);
        let base = format!("{}/app/installations/{}", self.api_url, installation.id);
        json!({
            "id": installation.id,
            "account": self.user_json(Some(installation.account)),
            "repository_selection": if installation.repos.is_some() { "selected" } else { "all" },
            "access_tokens_url": format!("{base}/access_tokens"),
            "repositories_url": format!("{}/installation/repositories", self.api_url),
            "html_url": format!("{}/settings/installations/{}", self.web_url, installation.id),
            "app_id": installation.app,
            "app_slug": app.map(|app| app.slug.clone()),
            "target_id": installation.account,
            "target_type": account.map(|account| account.kind),
            "permissions": permissions_json(&installation.permissions),
            "events": app.map(|app| app.events.clone()),
            "created_at": time(installation.created_at),
            "updated_at": time(installation.created_at),
            "single_file_name": null,
            "suspended_by": null,
            "suspended_at": optional_time(installation.suspended_at),
        })
    }
}

pub(crate) fn permissions_json(permissions: &Permissions) -> Value {
    let map: Map<String, Value> =
        permissions.iter().map(|(name, level)| (name.clone(), json!(level.word()))).collect();
    Value::Object(map)
}
