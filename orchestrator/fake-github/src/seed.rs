//! How a test's GitHub begins: repositories, collaborators, an App.

use std::sync::Arc;

use crate::auth::{APP_KEY, sign_jwt};
use crate::call::Actor;
use crate::fake::{FakeGithub, broken};
use crate::git::{Change, Git};
use crate::state::{Hook, Label, Level, MergeRules, Permissions, Repo, Role, World};

/// A repository to be.
#[derive(Debug, Clone)]
pub struct RepoSeed {
    full_name: String,
    default_branch: String,
    private: bool,
    organization: bool,
    refuses_drafts: bool,
    next_number: u64,
    collaborators: Vec<(String, Role)>,
    labels: Vec<String>,
    protected: Vec<String>,
    files: Vec<(String, String)>,
    fork_of: Option<String>,
}

impl RepoSeed {
    /// A public repository of a person, with a README on `main`.
    pub fn new(full_name: &str) -> Self {
        Self {
            full_name: full_name.to_owned(),
            default_branch: "main".to_owned(),
            private: false,
            organization: false,
            refuses_drafts: false,
            next_number: 1,
            collaborators: Vec::new(),
            labels: Vec::new(),
            protected: Vec::new(),
            files: vec![("README.md".to_owned(), format!("# {full_name}\n"))],
            fork_of: None,
        }
    }

    /// Only collaborators see it.
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// The owner is an organization.
    pub fn of_organization(mut self) -> Self {
        self.organization = true;
        self
    }

    /// The default branch, if not `main`.
    pub fn default_branch(mut self, name: &str) -> Self {
        name.clone_into(&mut self.default_branch);
        self
    }

    /// Draft pull requests are refused, as in private repositories of free plans.
    pub fn refuses_drafts(mut self) -> Self {
        self.refuses_drafts = true;
        self
    }

    /// The number of the first issue.
    pub fn first_number(mut self, number: u64) -> Self {
        self.next_number = number;
        self
    }

    /// Gives somebody a role.
    pub fn collaborator(mut self, login: &str, role: Role) -> Self {
        self.collaborators.push((login.to_owned(), role));
        self
    }

    /// A label of the repository.
    pub fn label(mut self, name: &str) -> Self {
        self.labels.push(name.to_owned());
        self
    }

    /// A branch nobody pushes to.
    pub fn protected(mut self, branch: &str) -> Self {
        self.protected.push(branch.to_owned());
        self
    }

    /// A file of the first commit.
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// A fork: it begins with the branches of the other.
    pub fn fork_of(mut self, full_name: &str) -> Self {
        self.fork_of = Some(full_name.to_owned());
        self
    }
}

/// An App to be, with the least permissions and the events cloud-code asks for.
#[derive(Debug, Clone)]
pub struct AppSeed {
    slug: String,
    permissions: Permissions,
    events: Vec<String>,
    on: Vec<(String, Option<Vec<String>>)>,
}

impl AppSeed {
    /// An App by its slug; its bot is `slug[bot]`.
    pub fn new(slug: &str) -> Self {
        let permissions = [
            ("metadata", Level::Read),
            ("contents", Level::Write),
            ("issues", Level::Write),
            ("pull_requests", Level::Write),
            ("checks", Level::Write),
            ("statuses", Level::Write),
            ("actions", Level::Read),
        ];
        let events = [
            "issues",
            "issue_comment",
            "pull_request",
            "pull_request_review",
            "pull_request_review_comment",
            "check_suite",
            "check_run",
            "push",
        ];
        Self {
            slug: slug.to_owned(),
            permissions: permissions.into_iter().map(|(name, level)| (name.to_owned(), level)).collect(),
            events: events.into_iter().map(str::to_owned).collect(),
            on: Vec::new(),
        }
    }

    /// Gives or changes a permission: `read`, `write` or `admin`.
    pub fn permission(mut self, name: &str, level: &str) -> Self {
        let level = Level::parse(level).unwrap_or_else(|| broken(&format!("no permission level `{level}`")));
        self.permissions.insert(name.to_owned(), level);
        self
    }

    /// Takes a permission away.
    pub fn without_permission(mut self, name: &str) -> Self {
        self.permissions.remove(name);
        self
    }

    /// Hears one event more.
    pub fn event(mut self, name: &str) -> Self {
        self.events.push(name.to_owned());
        self
    }

    /// Installs it on all repositories of an account, those to come too.
    pub fn installed_on(mut self, account: &str) -> Self {
        self.on.push((account.to_owned(), None));
        self
    }

    /// Installs it on one repository.
    pub fn installed_on_repository(mut self, full_name: &str) -> Self {
        let account = full_name.split('/').next().unwrap_or_default().to_owned();
        self.on.push((account, Some(vec![full_name.to_owned()])));
        self
    }
}

impl FakeGithub {
    /// Makes a repository, with a real bare one behind it. Returns its id.
    ///
    /// # Panics
    /// When the name is no `owner/name`, or git fails.
    pub fn repo(&self, seed: RepoSeed) -> u64 {
        let made = self.shared.with(|world| make_repo(world, &seed));
        made.unwrap_or_else(|| broken(&format!("cannot make the repository {}", seed.full_name)))
    }

    /// Makes an App and installs it where the seed says. Returns its id.
    pub fn app(&self, seed: AppSeed) -> u64 {
        let app = self.shared.with(|world| {
            let owner = world.add_user("octocat", "User");
            world.add_app(&seed.slug, owner, seed.permissions, seed.events)
        });
        for (account, repos) in seed.on {
            self.install(app, &account, repos);
        }
        app
    }

    /// Installs an App on an account, for some repositories or all. Returns the installation's id, which comes in an
    /// `installation` event too.
    pub fn install(&self, app: u64, account: &str, repos: Option<Vec<String>>) -> u64 {
        self.shared.with(|world| {
            let account = world.user_by_login(account).map(|user| user.id);
            let account =
                account.unwrap_or_else(|| broken("the App is installed on an account that is not there"));
            let ids = repos.map(|names| names.iter().map(|name| known_repo(world, name)).collect());
            let id = world.add_installation(app, account, ids);
            world.tell_installation("created", id, Actor { user: account, app: None });
            id
        })
    }

    /// Takes an installation away: its tokens stop working, and `installation.deleted` is told.
    pub fn uninstall(&self, installation: u64) {
        self.shared.with(|world| {
            let Some(account) = world.installation(installation).map(|installed| installed.account) else {
                broken("there is no such installation")
            };
            world.tell_installation("deleted", installation, Actor { user: account, app: None });
            world.installations.retain(|installed| installed.id != installation);
        });
    }

    /// The ids of an App's installations.
    pub fn installations(&self, app: u64) -> Vec<u64> {
        self.shared.with(|world| {
            world.installations.iter().filter(|known| known.app == app).map(|known| known.id).collect()
        })
    }

    /// The private key of every App here, as GitHub hands it out.
    pub fn app_key(&self) -> &'static str {
        APP_KEY
    }

    /// A JWT of an App, for a test that speaks HTTP itself.
    pub fn app_jwt(&self, app: u64) -> String {
        sign_jwt(app).unwrap_or_else(|| broken("the App's key cannot sign"))
    }

    /// An installation token with all of the installation's permissions, for a test that speaks HTTP itself.
    pub fn installation_token(&self, installation: u64) -> String {
        self.shared.with(|world| {
            let Some(installed) = world.installation(installation).cloned() else {
                broken("there is no such installation")
            };
            let permissions = installed.permissions.clone();
            world.add_installation_token(&installed, None, permissions).text
        })
    }

    /// A classic token of a person: it may all the person may.
    pub fn token(&self, login: &str) -> String {
        self.shared.with(|world| {
            let user = world.add_user(login, "User");
            world.add_person_token(user, None)
        })
    }

    /// A fine-grained token, with permissions as `("issues", "write")`.
    pub fn fine_grained_token(&self, login: &str, permissions: &[(&str, &str)]) -> String {
        let permissions = permissions
            .iter()
            .map(|(name, level)| {
                let level =
                    Level::parse(level).unwrap_or_else(|| broken(&format!("no permission level `{level}`")));
                ((*name).to_owned(), level)
            })
            .collect();
        self.shared.with(|world| {
            let user = world.add_user(login, "User");
            world.add_person_token(user, Some(permissions))
        })
    }

    /// Every token handed out so far expires now.
    pub fn expire_tokens(&self) {
        self.shared.with(|world| {
            let now = world.now();
            for token in &mut world.tokens {
                token.expires_at = Some(now);
            }
        });
    }

    /// A code of the manifest flow, as GitHub puts it into the redirect after the form was confirmed.
    pub fn manifest_code(&self, manifest: &serde_json::Value) -> String {
        self.shared.with(|world| {
            let code = format!("code{:036}", world.token_number());
            world.manifest_codes.push((code.clone(), manifest.clone()));
            code
        })
    }

    /// Gives somebody another role.
    pub fn set_role(&self, repo: &str, login: &str, role: Role) {
        self.shared.with(|world| {
            let user = world.add_user(login, "User");
            with_repo(world, repo, |known| known.collaborators.insert(user, role));
        });
    }

    /// Protects a branch, or stops.
    pub fn protect(&self, repo: &str, branch: &str, on: bool) {
        self.shared.with(|world| {
            with_repo(world, repo, |known| {
                if on { known.protected.insert(branch.to_owned()) } else { known.protected.remove(branch) }
            });
        });
    }

    /// What must be so before a pull request is merged.
    pub fn rule_merges(&self, repo: &str, rules: MergeRules) {
        self.shared.with(|world| with_repo(world, repo, |known| known.merge_rules = rules));
    }

    /// A webhook of the repository that tells these events to `url`, signed; its number. There is no ping.
    pub fn hook(&self, repo: &str, url: &str, secret: &str, events: &[&str]) -> u64 {
        self.shared.with(|world| {
            let (id, now) = (world.id(), world.now());
            let hook = Hook {
                id,
                url: url.to_owned(),
                secret: Some(secret.to_owned()),
                content_type: "json".to_owned(),
                events: events.iter().map(|event| (*event).to_owned()).collect(),
                active: true,
                created_at: now,
                updated_at: now,
            };
            with_repo(world, repo, |known| known.hooks.push(hook));
            id
        })
    }

    /// Makes it read-only, or not.
    pub fn archive(&self, repo: &str, on: bool) {
        self.shared.with(|world| with_repo(world, repo, |known| known.archived = on));
    }

    /// Gives it another name; the old one answers 301.
    pub fn rename(&self, repo: &str, name: &str) {
        self.shared.with(|world| {
            with_repo(world, repo, |known| {
                known.former_names.push(repo.to_owned());
                name.clone_into(&mut known.name);
            });
        });
    }

    /// Deletes it; pull requests from it lose their head repository.
    pub fn delete_repo(&self, repo: &str) {
        self.shared.with(|world| {
            let id = known_repo(world, repo);
            world.repos.retain(|known| known.id != id);
            for pull in world
                .repos
                .iter_mut()
                .flat_map(|repo| &mut repo.threads)
                .filter_map(|thread| thread.pull.as_mut())
            {
                if pull.head_repo == Some(id) {
                    pull.head_repo = None;
                }
            }
        });
    }

    /// Deletes an account: what it wrote stays, by a ghost.
    pub fn delete_user(&self, login: &str) {
        self.shared.with(|world| world.users.retain(|user| user.login != login));
    }

    /// The next issue or pull request gets this number, if it is not past it.
    pub fn continue_numbers_at(&self, repo: &str, number: u64) {
        self.shared.with(|world| with_repo(world, repo, |known| known.continue_numbers_at(number)));
    }

    /// The log of a job, for `GET …/actions/jobs/ID/logs`.
    pub fn job_log(&self, repo: &str, job: u64, text: &str) {
        self.shared
            .with(|world| with_repo(world, repo, |known| drop(known.job_logs.insert(job, text.to_owned()))));
    }

    /// What GitHub says about merging, when git is not to decide.
    pub fn set_mergeable(&self, repo: &str, number: u64, mergeable: Option<bool>) {
        self.shared.with(|world| {
            with_repo(world, repo, |known| {
                if let Some(pull) = known.thread_mut(number).and_then(|thread| thread.pull.as_mut()) {
                    pull.mergeable = mergeable;
                }
            });
        });
    }

    pub(crate) fn shared(&self) -> &Arc<crate::shared::Shared> {
        &self.shared
    }
}

/// The id of a repository.
#[track_caller]
pub(crate) fn known_repo(world: &World, full_name: &str) -> u64 {
    match world.repo_named(full_name) {
        Some(repo) => repo.id,
        None => {
            let there: Vec<String> = world.repos.iter().map(|repo| world.full_name(repo)).collect();
            broken(&format!("there is no repository {full_name}, only {}", there.join(", ")))
        }
    }
}

#[track_caller]
fn with_repo<R>(world: &mut World, full_name: &str, change: impl FnOnce(&mut Repo) -> R) -> R {
    let id = known_repo(world, full_name);
    match world.repo_mut(id) {
        Some(repo) => change(repo),
        None => broken("the repository went away under the lock"),
    }
}

fn make_repo(world: &mut World, seed: &RepoSeed) -> Option<u64> {
    let (owner, name) = seed.full_name.split_once('/')?;
    let owner = world.add_user(owner, if seed.organization { "Organization" } else { "User" });
    let (id, now) = (world.id(), world.now());
    let git_dir = world.root.join(format!("{id}.git"));
    let git = Git::new(&git_dir);
    git.init(&seed.default_branch).ok()?;
    let mut repo = Repo::new(id, owner, name, git_dir, now);
    repo.default_branch.clone_from(&seed.default_branch);
    repo.private = seed.private;
    repo.refuses_drafts = seed.refuses_drafts;
    repo.protected = seed.protected.iter().cloned().collect();
    repo.continue_numbers_at(seed.next_number);
    for (login, role) in &seed.collaborators {
        let user = world.add_user(login, "User");
        repo.collaborators.insert(user, *role);
    }
    for name in &seed.labels {
        let id = world.id();
        repo.labels.push(Label { id, name: name.clone(), color: "ededed".to_owned(), description: None });
    }
    match &seed.fork_of {
        Some(parent) => {
            let parent = world.repo_named(parent)?;
            repo.fork_of = Some(parent.id);
            git.copy_from(&Git::new(&parent.git_dir))?;
        }
        None => {
            let files: Vec<Change<'_>> =
                seed.files.iter().map(|(path, content)| Change::Write(path, content)).collect();
            git.commit_on(&seed.default_branch, None, &files, "octocat", "Begin", now)?;
        }
    }
    world.repos.push(repo);
    Some(id)
}
