//! Who may start work. Every path asks this one function.
//!
//! Only numbers decide: logins are renamed and taken by others. What a forge says of somebody's role in a payload
//! (`author_association`) is computed for nobody in particular and is not looked at; the permission endpoint is asked
//! when the command is given, and an answer that is missing, late or about somebody else means no.

use std::collections::BTreeSet;
use std::fmt;

use cloud_code_model::Actor;
use serde::Deserialize;

use crate::notice::SenderKind;

/// What a project has decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRules {
    /// The least level that may start work: [`Level::Write`], [`Level::Maintain`] or [`Level::Admin`]. Anything below
    /// write counts as write: on a public repository everybody can read.
    pub least: Level,
    /// Who of those.
    pub allowed: Allowed,
    /// Who never.
    pub denied: BTreeSet<u64>,
    /// Bots that may. They need the level as well.
    pub bots: BTreeSet<u64>,
    /// The account we write with, if it is ours alone.
    pub ourselves: Option<u64>,
}

/// Who may, of those with the level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// All of them.
    Everyone,
    /// Only these. An empty list is nobody.
    Only(BTreeSet<u64>),
}

/// What somebody may do in a repository, from nothing to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing.
    None,
    /// Look.
    Read,
    /// Sort issues.
    Triage,
    /// Push.
    Write,
    /// Run the repository.
    Maintain,
    /// Everything.
    Admin,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no",
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        })
    }
}

/// What the permission endpoint answered about somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermissionFact {
    /// An answer.
    Known {
        /// About whom.
        user_id: u64,
        /// What they may.
        level: Level,
    },
    /// None: an error, a 403, a 404, an answer that could not be read.
    Unknown {
        /// What happened, for the log.
        why: String,
    },
}

#[derive(Deserialize)]
struct PermissionBody {
    permission: String,
    role_name: Option<String>,
    user: Option<crate::wire::Id>,
}

impl PermissionFact {
    /// Reads the body of a 200 of `GET /repos/{owner}/{repo}/collaborators/{login}/permission`.
    ///
    /// `permission` is coarse (maintain shows as write, triage as read); `role_name` refines it, and a role of the
    /// organisation's own making is as good as its `permission`.
    pub fn read(body: &[u8]) -> Self {
        let unknown = |why: &str| Self::Unknown { why: why.to_owned() };
        let Ok(answer) = serde_json::from_slice::<PermissionBody>(body) else {
            return unknown("the permission's answer could not be read");
        };
        let Some(user) = answer.user else {
            return unknown("the permission's answer does not say whom it is about");
        };
        let level = match (answer.permission.as_str(), answer.role_name.as_deref()) {
            ("admin", _) => Level::Admin,
            ("write", Some("maintain")) => Level::Maintain,
            ("write", _) => Level::Write,
            ("read", Some("triage")) => Level::Triage,
            ("read", _) => Level::Read,
            ("none", _) => Level::None,
            _ => return unknown("the permission's answer has a level that is not known"),
        };
        Self::Known { user_id: user.id, level }
    }
}

/// Somebody may. Only [`authorise`] makes one, so that what needs it cannot be reached around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    actor: Actor,
    level: Level,
}

impl Authority {
    /// Who may.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }
    /// What they may do in the repository.
    pub const fn level(&self) -> Level {
        self.level
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It is us.
    #[error("cloud-code does not obey itself")]
    Ourselves,
    /// The project says so.
    #[error("`{login}` is on this project's list of those who may not start work")]
    Denied {
        /// Who.
        login: String,
    },
    /// Not a person and not on the list.
    #[error("`{login}` is a bot that this project does not list")]
    UnlistedBot {
        /// Who.
        login: String,
    },
    /// An organisation, or something new.
    #[error("`{login}` is neither a person nor a bot")]
    NoPerson {
        /// Who.
        login: String,
    },
    /// The project has a list, and they are not on it.
    #[error("`{login}` is not on this project's list of those who may start work")]
    NotListed {
        /// Who.
        login: String,
    },
    /// The forge gave no answer. Not knowing is no.
    #[error("what `{login}` may do in this repository could not be found out: {why}")]
    Unknown {
        /// Who.
        login: String,
        /// What happened.
        why: String,
    },
    /// The login belongs to somebody else by now.
    #[error("the login `{login}` belongs to another account now")]
    SomebodyElse {
        /// The login.
        login: String,
    },
    /// Not enough.
    #[error("`{login}` has {has} access to this repository, and {needs} access is needed to start work")]
    TooLow {
        /// Who.
        login: String,
        /// What they have.
        has: Level,
        /// What is needed.
        needs: Level,
    },
}

/// Whether `actor` may start work.
pub fn authorise(
    rules: &AccessRules,
    actor: &Actor,
    sender_kind: SenderKind,
    permission: &PermissionFact,
) -> Result<Authority, Denial> {
    let login = || actor.login.clone();
    if rules.ourselves == Some(actor.id) {
        return Err(Denial::Ourselves);
    }
    if rules.denied.contains(&actor.id) {
        return Err(Denial::Denied { login: login() });
    }
    match sender_kind {
        SenderKind::User => {}
        SenderKind::Bot if rules.bots.contains(&actor.id) => {}
        SenderKind::Bot => return Err(Denial::UnlistedBot { login: login() }),
        SenderKind::Other => return Err(Denial::NoPerson { login: login() }),
    }
    match &rules.allowed {
        Allowed::Everyone => {}
        Allowed::Only(ids) if ids.contains(&actor.id) => {}
        // A bot is named in a list of its own.
        Allowed::Only(_) if sender_kind == SenderKind::Bot => {}
        Allowed::Only(_) => return Err(Denial::NotListed { login: login() }),
    }
    let (user_id, has) = match permission {
        PermissionFact::Known { user_id, level } => (*user_id, *level),
        PermissionFact::Unknown { why } => return Err(Denial::Unknown { login: login(), why: why.clone() }),
    };
    if user_id != actor.id {
        return Err(Denial::SomebodyElse { login: login() });
    }
    let needs = rules.least.max(Level::Write);
    if has < needs {
        return Err(Denial::TooLow { login: login(), has, needs });
    }
    Ok(Authority { actor: actor.clone(), level: has })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: u64 = 7;

    const LEVELS: [Level; 6] =
        [Level::None, Level::Read, Level::Triage, Level::Write, Level::Maintain, Level::Admin];

    fn only(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    /// Every combination of every input, against the rule said the other way round: all conditions at once.
    #[test]
    fn only_who_meets_every_condition_may() {
        let actor = Actor { id: ALICE, login: "alice".to_owned() };
        let (mut may, mut may_not) = (0, 0);
        for least in LEVELS {
            for allowed in [Allowed::Everyone, Allowed::Only(only(&[])), Allowed::Only(only(&[ALICE, 9]))] {
                for denied in [only(&[]), only(&[8]), only(&[ALICE])] {
                    for bots in [only(&[]), only(&[ALICE])] {
                        for ourselves in [None, Some(8), Some(ALICE)] {
                            for kind in [SenderKind::User, SenderKind::Bot, SenderKind::Other] {
                                for fact in facts() {
                                    let (allowed, denied, bots) =
                                        (allowed.clone(), denied.clone(), bots.clone());
                                    let rules = AccessRules { least, allowed, denied, bots, ourselves };
                                    let result = authorise(&rules, &actor, kind, &fact);
                                    let expected = ourselves != Some(ALICE)
                                        && !rules.denied.contains(&ALICE)
                                        && match kind {
                                            SenderKind::User => rules.allowed != Allowed::Only(only(&[])),
                                            SenderKind::Bot => rules.bots.contains(&ALICE),
                                            SenderKind::Other => false,
                                        }
                                        && LEVELS.iter().any(|level| {
                                            *level >= least
                                                && *level >= Level::Write
                                                && fact
                                                    == PermissionFact::Known { user_id: ALICE, level: *level }
                                        });
                                    assert_eq!(
                                        result.is_ok(),
                                        expected,
                                        "{rules:?} {kind:?} {fact:?} {result:?}"
                                    );
                                    if expected { may += 1 } else { may_not += 1 }
                                }
                            }
                        }
                    }
                }
            }
        }
        assert_eq!((may, may_not), (420, 12_216));
    }

    fn facts() -> Vec<PermissionFact> {
        let mut facts: Vec<_> = [ALICE, 8]
            .into_iter()
            .flat_map(|user_id| LEVELS.map(|level| PermissionFact::Known { user_id, level }))
            .collect();
        facts.push(PermissionFact::Unknown { why: "404".to_owned() });
        facts
    }

    #[test]
    fn each_denial_says_its_own_reason() {
        let actor = Actor { id: ALICE, login: "alice".to_owned() };
        let open = AccessRules {
            least: Level::Write,
            allowed: Allowed::Everyone,
            denied: only(&[]),
            bots: only(&[]),
            ourselves: None,
        };
        let admin = PermissionFact::Known { user_id: ALICE, level: Level::Admin };
        let login = || "alice".to_owned();
        let cases = [
            (
                AccessRules { ourselves: Some(ALICE), ..open.clone() },
                SenderKind::User,
                admin.clone(),
                Denial::Ourselves,
            ),
            (
                AccessRules { denied: only(&[ALICE]), ..open.clone() },
                SenderKind::User,
                admin.clone(),
                Denial::Denied { login: login() },
            ),
            (open.clone(), SenderKind::Bot, admin.clone(), Denial::UnlistedBot { login: login() }),
            (open.clone(), SenderKind::Other, admin.clone(), Denial::NoPerson { login: login() }),
            (
                AccessRules { allowed: Allowed::Only(only(&[1])), ..open.clone() },
                SenderKind::User,
                admin,
                Denial::NotListed { login: login() },
            ),
            (
                open.clone(),
                SenderKind::User,
                PermissionFact::Unknown { why: "403".to_owned() },
                Denial::Unknown { login: login(), why: "403".to_owned() },
            ),
            (
                open.clone(),
                SenderKind::User,
                PermissionFact::Known { user_id: 8, level: Level::Admin },
                Denial::SomebodyElse { login: login() },
            ),
            (
                open,
                SenderKind::User,
                PermissionFact::Known { user_id: ALICE, level: Level::Triage },
                Denial::TooLow { login: login(), has: Level::Triage, needs: Level::Write },
            ),
        ];
        for (rules, kind, fact, denial) in cases {
            assert_eq!(authorise(&rules, &actor, kind, &fact), Err(denial));
        }
    }

    #[test]
    fn the_endpoints_answer_is_read_or_unknown() {
        let read = |permission: &str, role: &str| {
            let body = format!(
                r#"{{"permission":"{permission}","role_name":"{role}","user":{{"id":7,"login":"a"}}}}"#
            );
            PermissionFact::read(body.as_bytes())
        };
        for (permission, role, level) in [
            ("admin", "admin", Level::Admin),
            ("write", "maintain", Level::Maintain),
            ("write", "write", Level::Write),
            ("write", "release-crew", Level::Write),
            ("read", "triage", Level::Triage),
            ("read", "read", Level::Read),
            ("read", "maintain", Level::Read),
            ("none", "none", Level::None),
        ] {
            assert_eq!(
                read(permission, role),
                PermissionFact::Known { user_id: 7, level },
                "{permission} {role}"
            );
        }
        for body in [
            &b""[..],
            b"[]",
            br#"{"permission":"admin"}"#,
            br#"{"permission":"admin","user":null}"#,
            br#"{"permission":"owner","user":{"id":7}}"#,
            br#"{"message":"Not Found"}"#,
        ] {
            assert!(matches!(PermissionFact::read(body), PermissionFact::Unknown { .. }), "{body:?}");
        }
    }
}
