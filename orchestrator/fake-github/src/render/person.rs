use serde_json::{Value, json};

use super::node_id;
use crate::state::World;

impl World {
    /// A `simple-user`, or null for an account that is gone.
    pub(crate) fn user_json(&self, id: Option<u64>) -> Value {
        let Some(user) = id.and_then(|id| self.user(id)) else { return Value::Null };
        let (login, web) = (&user.login, &self.web_url);
        // The brackets of a bot's login are no characters of an address.
        let path = crate::call::encode(login);
        let url = format!("{}/users/{path}", self.api_url);
        json!({
            "login": login,
            "id": user.id,
            "node_id": node_id("User", user.id),
            "avatar_url": format!("{web}/avatars/u/{}", user.id),
            "gravatar_id": "",
            "url": url,
            "html_url": format!("{web}/{path}"),
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": user.kind,
            "site_admin": false,
        })
    }

    /// A `public-user`: what `/user` and `/users/U` answer.
    pub(crate) fn profile_json(&self, id: u64) -> Value {
        let mut profile = self.user_json(Some(id));
        let more = json!({
            "name": null, "company": null, "blog": "", "location": null, "email": null, "hireable": null,
            "bio": null, "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
            "created_at": "2015-01-01T00:00:00Z", "updated_at": "2015-01-01T00:00:00Z",
        });
        merge(&mut profile, more);
        profile
    }

    /// The `organization` of a webhook, when the owner is one.
    pub(crate) fn organization_json(&self, id: u64) -> Option<Value> {
        let user = self.user(id).filter(|user| user.kind == "Organization")?;
        let url = format!("{}/orgs/{}", self.api_url, user.login);
        Some(json!({
            "login": user.login,
            "id": user.id,
            "node_id": node_id("Organization", user.id),
            "url": url,
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events"),
            "hooks_url": format!("{url}/hooks"),
            "issues_url": format!("{url}/issues"),
            "members_url": format!("{url}/members{{/member}}"),
            "public_members_url": format!("{url}/public_members{{/member}}"),
            "avatar_url": format!("{}/avatars/u/{}", self.web_url, user.id),
            "description": "",
        }))
    }
}

/// Adds the members of `more` to an object.
pub(crate) fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
