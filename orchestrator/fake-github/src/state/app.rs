use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::World;

/// What an App may do, by GitHub's names (`issues`, `contents`, …).
pub(crate) type Permissions = BTreeMap<String, Level>;

/// How much of one permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Read,
    Write,
    Admin,
}

impl Level {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// A GitHub App. Its key is the one of `testdata`, for every App: the fake proves signatures, not secrecy.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) id: u64,
    pub(crate) slug: String,
    pub(crate) name: String,
    pub(crate) client_id: String,
    pub(crate) owner: u64,
    pub(crate) bot: u64,
    pub(crate) permissions: Permissions,
    pub(crate) events: Vec<String>,
    pub(crate) hook_url: Option<String>,
    pub(crate) hook_secret: Option<String>,
    pub(crate) hook_id: u64,
    pub(crate) created_at: Timestamp,
}

/// An App on an account, for some repositories or (`None`) all of them.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) app: u64,
    pub(crate) account: u64,
    pub(crate) repos: Option<Vec<u64>>,
    pub(crate) permissions: Permissions,
    pub(crate) suspended_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
}

/// A token and what it opens.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) holder: Holder,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Who a token speaks for.
#[derive(Debug, Clone)]
pub(crate) enum Holder {
    /// An installation, perhaps narrowed.
    Installation { installation: u64, repos: Option<Vec<u64>>, permissions: Permissions },
    /// A person; without permissions it is a classic token that may all the person may.
    Person { user: u64, permissions: Option<Permissions> },
}

impl World {
    pub(crate) fn app(&self, id: u64) -> Option<&App> {
        self.apps.iter().find(|app| app.id == id)
    }

    pub(crate) fn installation(&self, id: u64) -> Option<&Installation> {
        self.installations.iter().find(|installation| installation.id == id)
    }

    /// The installation of an App that covers a repository.
    pub(crate) fn installation_on(&self, app: u64, repo: u64) -> Option<&Installation> {
        let owner = self.repo(repo)?.owner;
        self.installations.iter().find(|installation| {
            installation.app == app && installation.account == owner && installation.covers(repo)
        })
    }

    pub(crate) fn add_app(
        &mut self,
        slug: &str,
        owner: u64,
        permissions: Permissions,
        events: Vec<String>,
    ) -> u64 {
        let id = self.id();
        let bot = self.add_user(&format!("{slug}[bot]"), "Bot");
        let hook_id = self.id();
        let created_at = self.now();
        self.apps.push(App {
            id,
            slug: slug.to_owned(),
            name: slug.to_owned(),
            client_id: format!("Iv23li{id:014}"),
            owner,
            bot,
            permissions,
            events,
            hook_url: None,
            hook_secret: None,
            hook_id,
            created_at,
        });
        id
    }

    pub(crate) fn add_installation(&mut self, app: u64, account: u64, repos: Option<Vec<u64>>) -> u64 {
        let id = self.id();
        let permissions = self.app(app).map(|app| app.permissions.clone()).unwrap_or_default();
        let created_at = self.now();
        self.installations.push(Installation {
            id,
            app,
            account,
            repos,
            permissions,
            suspended_at: None,
            created_at,
        });
        id
    }

    /// A token in today's form: `ghs_APPID_` and a JWT, hundreds of characters. The signature is not checkable; the
    /// text is looked up.
    pub(crate) fn add_installation_token(
        &mut self,
        installation: &Installation,
        repos: Option<Vec<u64>>,
        permissions: Permissions,
    ) -> Token {
        let number = self.token_number();
        let expires_at = self.now().checked_add(SignedDuration::from_hours(1)).ok();
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "typ": "JWT", "kid": "fake"}).to_string());
        let claims = URL_SAFE_NO_PAD.encode(
            json!({
                "iss": "github-fake", "sub": format!("installation:{}", installation.id), "jti": number,
                "exp": expires_at.map(Timestamp::as_second), "aud": "github", "app": installation.app,
                "scope": permissions.iter().map(|(name, level)| format!("{name}:{}", level.word())).collect::<Vec<_>>(),
            })
            .to_string(),
        );
        let signature = URL_SAFE_NO_PAD.encode(format!("{number:064}"));
        let text = format!("ghs_{}_{header}.{claims}.{signature}", installation.app);
        let holder = Holder::Installation { installation: installation.id, repos, permissions };
        let token = Token { text, holder, expires_at };
        self.tokens.push(token.clone());
        token
    }

    pub(crate) fn add_person_token(&mut self, user: u64, permissions: Option<Permissions>) -> String {
        let number = self.token_number();
        let text = match permissions {
            Some(_) => format!("github_pat_11FAKE{number:016}_{:059}", number),
            None => format!("ghp_{number:036}"),
        };
        self.tokens.push(Token {
            text: text.clone(),
            holder: Holder::Person { user, permissions },
            expires_at: None,
        });
        text
    }
}

impl Installation {
    pub(crate) fn covers(&self, repo: u64) -> bool {
        self.repos.as_ref().is_none_or(|repos| repos.contains(&repo))
    }
}
