use serde_json::{Map, Value, json};

use super::person::merge;
use super::{node_id, time};
use crate::state::{Label, Repo, World};

/// The members of a repository that are addresses, with what follows the repository's own address.
const ADDRESSES: &[(&str, &str)] = &[
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
];

impl World {
    /// The address of a repository in the API.
    pub(crate) fn repo_url(&self, repo: &Repo) -> String {
        format!("{}/repos/{}", self.api_url, self.full_name(repo))
    }

    /// The address of a repository for people, and with `.git` for git.
    pub(crate) fn repo_page(&self, repo: &Repo) -> String {
        format!("{}/{}", self.web_url, self.full_name(repo))
    }

    /// The `repository` of webhooks, lists and pull requests.
    pub(crate) fn repo_json(&self, repo: &Repo) -> Value {
        let url = self.repo_url(repo);
        let page = self.repo_page(repo);
        let full_name = self.full_name(repo);
        let git_host = self.web_url.trim_start_matches("http://");
        let open = repo.threads.iter().filter(|thread| thread.open).count();
        let forks = self.repos.iter().filter(|other| other.fork_of == Some(repo.id)).count();
        let mut object: Map<String, Value> = ADDRESSES
            .iter()
            .map(|(name, rest)| ((*name).to_owned(), json!(format!("{url}{rest}"))))
            .collect();
        let more = json!({
            "id": repo.id,
            "node_id": node_id("Repository", repo.id),
            "name": repo.name,
            "full_name": full_name,
            "private": repo.private,
            "owner": self.user_json(Some(repo.owner)),
            "html_url": page,
            "description": null,
            "fork": repo.fork_of.is_some(),
            "url": url,
            "created_at": time(repo.created_at),
            "updated_at": time(repo.pushed_at),
            "pushed_at": time(repo.pushed_at),
            "git_url": format!("git://{git_host}/{full_name}.git"),
            "ssh_url": format!("git@{git_host}:{full_name}.git"),
            "clone_url": format!("{page}.git"),
            "svn_url": page,
            "homepage": null,
            "size": 0,
            "stargazers_count": 0,
            "watchers_count": 0,
            "language": null,
            "has_issues": true,
            "has_projects": true,
            "has_downloads": true,
            "has_wiki": true,
            "has_pages": false,
            "has_discussions": false,
            "forks_count": forks,
            "mirror_url": null,
            "archived": repo.archived,
            "disabled": false,
            "open_issues_count": open,
            "license": null,
            "allow_forking": true,
            "is_template": false,
            "web_commit_signoff_required": false,
            "topics": [],
            "visibility": if repo.private { "private" } else { "public" },
            "forks": forks,
            "open_issues": open,
            "watchers": 0,
            "default_branch": repo.default_branch,
            "custom_properties": {},
        });
        if let Value::Object(more) = more {
            object.extend(more);
        }
        Value::Object(object)
    }

    /// A `full-repository`: what `GET /repos/O/R` answers.
    pub(crate) fn full_repo_json(&self, repo: &Repo) -> Value {
        let mut object = self.repo_json(repo);
        merge(
            &mut object,
            json!({
                "temp_clone_token": null, "allow_squash_merge": true, "allow_merge_commit": true,
                "allow_rebase_merge": true, "allow_auto_merge": false, "delete_branch_on_merge": false,
                "subscribers_count": 0, "network_count": 0,
            }),
        );
        if let Some(parent) = repo.fork_of.and_then(|id| self.repo(id)) {
            let parent = self.repo_json(parent);
            merge(&mut object, json!({"parent": parent, "source": parent}));
        }
        object
    }

    pub(crate) fn label_json(&self, repo: &Repo, label: &Label) -> Value {
        json!({
            "id": label.id,
            "node_id": node_id("Label", label.id),
            "url": format!("{}/labels/{}", self.repo_url(repo), crate::call::encode(&label.name)),
            "name": label.name,
            "description": label.description,
            "color": label.color,
            "default": false,
        })
    }
}
