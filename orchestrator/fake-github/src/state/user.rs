use super::World;

/// A person, an organization, or the bot of an App.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) login: String,
    /// `User`, `Organization` or `Bot`, as GitHub writes it.
    pub(crate) kind: &'static str,
}

impl World {
    pub(crate) fn add_user(&mut self, login: &str, kind: &'static str) -> u64 {
        if let Some(user) = self.user_by_login(login) {
            return user.id;
        }
        let id = self.id();
        self.users.push(User { id, login: login.to_owned(), kind });
        id
    }

    pub(crate) fn user(&self, id: u64) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    /// Logins are compared as GitHub does, without case.
    pub(crate) fn user_by_login(&self, login: &str) -> Option<&User> {
        self.users.iter().find(|user| user.login.eq_ignore_ascii_case(login))
    }

    /// The login, or `ghost` for an account that is gone.
    pub(crate) fn login(&self, id: Option<u64>) -> &str {
        id.and_then(|id| self.user(id)).map_or("ghost", |user| &user.login)
    }
}
