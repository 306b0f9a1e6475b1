//! Who calls: the App by a signed JWT, an installation or a person by a token.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::HeaderMap;
use jiff::Timestamp;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::Value;

use crate::answer::{Refused, refused};
use crate::state::{Holder, Permissions, World};

/// The key of every App of the fake, in the form GitHub hands out (PKCS#1). It opens nothing anywhere.
pub(crate) const APP_KEY: &str = include_str!("../testdata/app-key.pem");

/// The longest life of a JWT that GitHub takes, in seconds.
const JWT_LIFE: i64 = 600;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    Nobody,
    App(u64),
    Installation { installation: u64, app: u64, repos: Option<Vec<u64>>, permissions: Permissions },
    Person { user: u64, permissions: Option<Permissions> },
}

impl Caller {
    /// A name for the journal: never the token.
    pub(crate) fn name(&self, world: &World) -> String {
        match self {
            Self::Nobody => "nobody".to_owned(),
            Self::App(app) => world.app(*app).map_or("an App".to_owned(), |app| format!("app {}", app.slug)),
            Self::Installation { app, .. } => {
                world.app(*app).map_or("a bot".to_owned(), |app| world.login(Some(app.bot)).to_owned())
            }
            Self::Person { user, .. } => world.login(Some(*user)).to_owned(),
        }
    }
}

/// Reads the Authorization header. The JWT's times are held against the real clock, for the caller's clock is real;
/// tokens are held against the fake's, which a test can move.
pub(crate) fn caller(world: &World, headers: &HeaderMap) -> Result<Caller, Refused> {
    let Some(header) = headers.get("authorization") else { return Ok(Caller::Nobody) };
    let text = header.to_str().unwrap_or_default();
    let Some(secret) = credential(text) else { return Err(bad_credentials()) };
    if secret.starts_with("eyJ") {
        return jwt(world, &secret);
    }
    token(world, &secret).ok_or_else(bad_credentials)
}

/// What a token opens now; `None` for an unknown or expired one, or one of a suspended installation.
pub(crate) fn token(world: &World, secret: &str) -> Option<Caller> {
    let token = world.tokens.iter().find(|token| token.text == secret)?;
    if token.expires_at.is_some_and(|at| at <= world.now()) {
        return None;
    }
    Some(match &token.holder {
        Holder::Person { user, permissions } => {
            Caller::Person { user: *user, permissions: permissions.clone() }
        }
        Holder::Installation { installation, repos, permissions } => {
            let known = world.installation(*installation)?;
            Caller::Installation {
                installation: *installation,
                app: known.app,
                repos: repos.clone().or_else(|| known.repos.clone()),
                permissions: permissions.clone(),
            }
        }
    })
}

/// The secret of a Bearer, token or Basic header.
pub(crate) fn credential(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => Some(rest.trim().to_owned()),
        "basic" => {
            let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            let (user, password) = text.split_once(':')?;
            // git takes a token as the user name alone, too.
            Some(if password.is_empty() || password == "x-oauth-basic" { user } else { password }.to_owned())
        }
        _ => None,
    }
}

pub(crate) fn bad_credentials() -> Refused {
    refused(401, "Bad credentials")
}

fn jwt(world: &World, text: &str) -> Result<Caller, Refused> {
    let undecodable = || refused(401, "A JSON web token could not be decoded");
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, signature] = parts[..] else { return Err(undecodable()) };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| undecodable());
    let header: Value = serde_json::from_slice(&decode(header)?).map_err(|_| undecodable())?;
    let body: Value = serde_json::from_slice(&decode(claims)?).map_err(|_| undecodable())?;
    if header["alg"] != "RS256" {
        return Err(undecodable());
    }
    let signed = &text[..text.len() - signature.len() - 1];
    let key = public_key().ok_or_else(undecodable)?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
        .verify(signed.as_bytes(), &decode(signature)?)
        .map_err(|_| undecodable())?;

    let now = Timestamp::now().as_second();
    let time = |name: &str| body[name].as_i64();
    let Some(expires) = time("exp") else {
        return Err(refused(401, "Missing 'exp' claim in assertion"));
    };
    if expires <= now {
        return Err(refused(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        ));
    }
    if expires > now + JWT_LIFE {
        return Err(refused(401, "'Expiration time' claim ('exp') is too far in the future"));
    }
    if time("iat").is_none_or(|issued| issued > now) {
        return Err(refused(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        ));
    }
    let issuer = match &body["iss"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(refused(401, "Missing 'iss' claim in assertion")),
    };
    world
        .apps
        .iter()
        .find(|app| app.id.to_string() == issuer || app.client_id == issuer)
        .map(|app| Caller::App(app.id))
        .ok_or_else(|| refused(404, "Integration not found"))
}

/// The public half of the App's key.
fn public_key() -> Option<Vec<u8>> {
    key_pair().map(|pair| pair.public_key().as_ref().to_vec())
}

pub(crate) fn key_pair() -> Option<RsaKeyPair> {
    let base64: String = APP_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    RsaKeyPair::from_der(&STANDARD.decode(base64).ok()?).ok()
}

/// A JWT of an App, for tests that speak HTTP themselves.
pub(crate) fn sign_jwt(app: u64) -> Option<String> {
    let now = Timestamp::now().as_second();
    let claims = serde_json::json!({"iss": app.to_string(), "iat": now - 60, "exp": now + 500}).to_string();
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let pair = key_pair()?;
    let mut signature = vec![0; pair.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    pair.sign(&ring::signature::RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).ok()?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
