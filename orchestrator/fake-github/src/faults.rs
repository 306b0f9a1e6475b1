//! What goes wrong, on request: the test says which call and how, in order.

use std::time::Duration;

/// What goes wrong with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This status (500, 502, 503, …), and nothing happens.
    Status(u16),
    /// It happens, and this status is answered all the same.
    EffectThenStatus(u16),
    /// It happens, and the connection is cut before the answer.
    EffectThenCut,
    /// The connection is cut, and nothing happens.
    Cut,
    /// It takes this long.
    Delay(Duration),
    /// The secondary rate limit: 403, or 429, with `retry-after` in seconds when given.
    SecondaryLimit {
        /// 403 or 429.
        status: u16,
        /// The header, in seconds.
        retry_after: Option<u64>,
    },
    /// The primary rate limit is used up; it is whole again after this long.
    PrimaryLimit {
        /// From now until `x-ratelimit-reset`.
        reset_in: Duration,
    },
    /// 401, as for a token that has just expired. On `…/git-receive-pack` it is the token that expires between the
    /// ref advertisement and the push.
    TokenExpired,
    /// 404, as after access was taken away.
    LostAccess,
    /// It happens, and the answer's body ends half-way.
    Truncated,
    /// git: the connection is cut while the pack is read, and nothing happens.
    CutMidUpload,
}

/// A fault and the call it waits for.
#[derive(Debug, Clone)]
struct Plan {
    method: String,
    pattern: String,
    /// How many matching calls pass before.
    skip: usize,
    fault: Fault,
}

/// The faults that wait.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plans: Vec<Plan>,
}

impl Faults {
    /// Plans a fault for the n-th (1 is the next) call that matches from now on.
    pub(crate) fn plan(&mut self, method: &str, pattern: &str, nth: usize, fault: Fault) {
        self.plans.push(Plan {
            method: method.to_ascii_uppercase(),
            pattern: pattern.to_owned(),
            skip: nth.saturating_sub(1),
            fault,
        });
    }

    /// The fault for a call. The first plan that matches and has waited long enough is used up; the others that
    /// match have seen one call more.
    pub(crate) fn take(&mut self, method: &str, path: &str) -> Option<Fault> {
        let mut due = None;
        for (at, plan) in self.plans.iter_mut().enumerate() {
            if (plan.method != "*" && plan.method != method) || !matches(&plan.pattern, path) {
                continue;
            }
            if plan.skip > 0 {
                plan.skip -= 1;
            } else if due.is_none() {
                due = Some(at);
            }
        }
        due.map(|at| self.plans.remove(at).fault)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.plans.len()
    }
}

/// `*` stands for any characters but `/`, `**` for any at all.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("**") {
        return (0..=path.len()).filter(|at| path.is_char_boundary(*at)).any(|at| matches(rest, &path[at..]));
    }
    if let Some(rest) = pattern.strip_prefix('*') {
        let end = path.find('/').unwrap_or(path.len());
        return (0..=end).filter(|at| path.is_char_boundary(*at)).any(|at| matches(rest, &path[at..]));
    }
    let mut pattern = pattern.chars();
    let mut rest = path.chars();
    match (pattern.next(), rest.next()) {
        (None, None) => true,
        (Some(one), Some(other)) if one == other => matches(pattern.as_str(), rest.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_segment() {
        assert!(matches("/repos/*/*/issues/*/comments", "/repos/acme/shop/issues/42/comments"));
        assert!(!matches("/repos/*/issues", "/repos/acme/shop/issues"));
        assert!(matches("**/comments", "/repos/acme/shop/issues/42/comments"));
        assert!(!matches("**/comments", "/repos/acme/shop/issues/comments/7"));
    }

    #[test]
    fn faults_come_in_order_and_once() {
        let mut faults = Faults::default();
        faults.plan("POST", "**/comments", 2, Fault::Cut);
        faults.plan("post", "**/comments", 1, Fault::Status(502));
        let path = "/repos/acme/shop/issues/42/comments";
        assert_eq!(faults.take("GET", path), None);
        assert_eq!(faults.take("POST", path), Some(Fault::Status(502)));
        assert_eq!(faults.take("POST", path), Some(Fault::Cut));
        assert_eq!(faults.take("POST", path), None);
        assert_eq!(faults.waiting(), 0);
    }
}
