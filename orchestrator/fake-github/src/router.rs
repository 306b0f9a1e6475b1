//! From a method and a path to a handler, and the questions that come before every handler: is the repository there,
//! may the caller see it, may they do this.

use crate::answer::{Answer, Outcome, Refused, not_found, refused};
use crate::auth::Caller;
use crate::call::Call;
use crate::state::{Level, Permissions, Repo, Role, World};

/// What a call needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// Nothing.
    Nothing,
    /// The App itself, by its JWT.
    App,
    /// An installation token.
    Installation,
    /// Any valid token.
    Token,
    /// The repository of the path: one of these permissions for an App or a fine-grained token, this role for a
    /// person.
    Repo { any_of: &'static [(&'static str, Level)], role: Role },
}

/// How a route is answered.
pub(crate) type Handler = fn(&mut World, &Call) -> Outcome;

/// One operation. The template is the one of GitHub's API description.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) template: &'static str,
    pub(crate) need: Need,
    pub(crate) run: Handler,
}

pub(crate) const fn route(method: &'static str, template: &'static str, need: Need, run: Handler) -> Route {
    Route { method, template, need, run }
}

/// All that the fake plays.
pub(crate) fn routes() -> impl Iterator<Item = &'static Route> {
    crate::rest::TABLES.iter().copied().flatten()
}

/// The route of a call with the path's parameters, decoded. The longest template wins, then the one with fewer
/// parameters: a parameter that spans slashes takes what no other route wants.
pub(crate) fn find(method: &str, path: &str) -> Option<(&'static Route, Vec<String>)> {
    routes()
        .filter(|route| route.method == method)
        .filter_map(|route| fit(route.template, path).map(|params| (route, params)))
        .min_by_key(|(route, params)| (std::cmp::Reverse(route.template.split('/').count()), params.len()))
}

/// Whether a path fits a template. The last parameter may span slashes where GitHub's does.
pub(crate) fn fit(template: &str, path: &str) -> Option<Vec<String>> {
    let mut params = Vec::new();
    let mut rest = path.split('/');
    let mut segments = template.split('/').peekable();
    while let Some(segment) = segments.next() {
        let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        let spans = matches!(name, Some("path" | "basehead" | "branch" | "ref"));
        if spans && segments.peek().is_none() {
            let all = rest.by_ref().collect::<Vec<_>>().join("/");
            if all.is_empty() && name != Some("path") {
                return None;
            }
            params.push(crate::call::decode(&all));
            return Some(params);
        }
        let part = rest.next()?;
        match name {
            Some(_) if part.is_empty() => return None,
            Some(_) => params.push(crate::call::decode(part)),
            None if part == segment => {}
            None => return None,
        }
    }
    rest.next().is_none().then_some(params)
}

/// Answers a routed call.
pub(crate) fn answer(world: &mut World, route: &Route, call: &mut Call) -> Outcome {
    match route.need {
        Need::Nothing => {}
        Need::App => match call.caller {
            Caller::App(_) => {}
            Caller::Nobody | Caller::Installation { .. } | Caller::Person { .. } => {
                return Err(refused(401, "A JSON web token could not be decoded"));
            }
        },
        Need::Installation => {
            if !matches!(call.caller, Caller::Installation { .. }) {
                return Err(refused(
                    403,
                    "You must authenticate with an installation access token in order to list repositories for an installation.",
                ));
            }
        }
        Need::Token => {
            if call.caller == Caller::Nobody {
                return Err(refused(401, "Requires authentication"));
            }
        }
        Need::Repo { any_of, role } => call.repo = admit(world, call, any_of, role)?,
    }
    (route.run)(world, call)
}

/// Finds the repository of a call and lets the caller in. What a caller may not see is not there.
fn admit(world: &World, call: &Call, any_of: &[(&str, Level)], role: Role) -> Result<u64, Refused> {
    let name = format!("{}/{}", call.param(0), call.param(1));
    let Some(repo) = world.repo_named(&name) else {
        let moved = world.repo_once_named(&name).ok_or_else(not_found)?;
        sees(world, &call.caller, moved)?;
        return Err(moved_to(world, call, moved));
    };
    sees(world, &call.caller, repo)?;
    let writes = call.method != "GET";
    match &call.caller {
        Caller::Nobody if writes || role > Role::Read => return Err(refused(401, "Requires authentication")),
        Caller::Nobody => {}
        Caller::App(_) => return Err(not_found()),
        Caller::Installation { permissions, .. } => {
            if !holds(permissions, any_of) {
                return Err(forbidden("Resource not accessible by integration", any_of));
            }
            let covered = covers(world, &call.caller, repo);
            if !covered && (writes || role > Role::Read) {
                return Err(forbidden("Resource not accessible by integration", any_of));
            }
        }
        Caller::Person { user, permissions } => {
            if permissions.as_ref().is_some_and(|permissions| !holds(permissions, any_of)) {
                return Err(forbidden("Resource not accessible by personal access token", any_of));
            }
            if repo.role(*user) < role {
                let message = match role {
                    Role::Admin => "Must have admin rights to Repository.",
                    _ => "Must have push access to repository",
                };
                return Err(refused(403, message));
            }
        }
    }
    if writes && repo.archived {
        return Err(refused(403, "Repository was archived so is read-only."));
    }
    Ok(repo.id)
}

/// 404 for a private repository that the caller has no part in.
pub(crate) fn sees(world: &World, caller: &Caller, repo: &Repo) -> Result<(), Refused> {
    let seen = !repo.private
        || match caller {
            Caller::Nobody => false,
            Caller::App(app) => world.installation_on(*app, repo.id).is_some(),
            Caller::Installation { .. } => covers(world, caller, repo),
            Caller::Person { user, .. } => repo.role(*user) > Role::None,
        };
    if seen { Ok(()) } else { Err(not_found()) }
}

/// Whether an installation token is for this repository.
pub(crate) fn covers(world: &World, caller: &Caller, repo: &Repo) -> bool {
    match caller {
        Caller::Installation { installation, repos, .. } => {
            world.installation(*installation).is_some_and(|known| known.account == repo.owner)
                && repos.as_ref().is_none_or(|repos| repos.contains(&repo.id))
        }
        Caller::Nobody | Caller::App(_) | Caller::Person { .. } => true,
    }
}

pub(crate) fn holds(permissions: &Permissions, any_of: &[(&str, Level)]) -> bool {
    any_of.is_empty()
        || any_of.iter().any(|(name, level)| {
            // Metadata comes with every App.
            *name == "metadata" || permissions.get(*name).is_some_and(|held| held >= level)
        })
}

fn forbidden(message: &str, any_of: &[(&str, Level)]) -> Refused {
    let wanted: Vec<String> = any_of.iter().map(|(name, level)| format!("{name}={}", level.word())).collect();
    Box::new(Answer::error(403, message).with("x-accepted-github-permissions", wanted.join("; ")))
}

/// 301 to the repository's lasting address, as after a rename or a transfer.
fn moved_to(world: &World, call: &Call, repo: &Repo) -> Refused {
    let rest = call.path.splitn(5, '/').nth(4).map(|rest| format!("/{rest}")).unwrap_or_default();
    let url = format!("{}{}/repositories/{}{rest}", world.api_url, call.prefix, repo.id);
    let body = serde_json::json!({
        "message": "Moved Permanently",
        "url": url,
        "documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
    });
    Box::new(Answer::json(301, body).with("location", url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_what_it_names() {
        assert_eq!(
            fit("/repos/{owner}/{repo}", "/repos/acme/shop"),
            Some(vec!["acme".into(), "shop".into()])
        );
        assert_eq!(fit("/repos/{owner}/{repo}", "/repos/acme/shop/issues"), None);
        assert_eq!(
            fit("/repos/{owner}/{repo}/branches/{branch}", "/repos/a/b/branches/cloud-code%2Fissue-1"),
            Some(vec!["a".into(), "b".into(), "cloud-code/issue-1".into()])
        );
        let (route, _) = find("GET", "/repos/a/b/issues/comments").unwrap();
        assert_eq!(route.template, "/repos/{owner}/{repo}/issues/comments");
        let (route, _) = find("GET", "/repos/a/b/commits/main/statuses").unwrap();
        assert_eq!(route.template, "/repos/{owner}/{repo}/commits/{ref}/statuses");
    }
}
