//! A fake GitHub to try things by hand: starts one with a small repository and says where it is.

use std::io::Write;
use std::net::SocketAddr;
use std::{fs, io};

use anyhow::Context;
use clap::Parser;
use cloud_code_fake_github::{AppSeed, FakeGithub, RepoSeed, Role};
use tokio::signal::unix::{SignalKind, signal};

/// A GitHub for trying cloud-code without an account. Everything in it is gone when it ends.
#[derive(Debug, Parser)]
#[command(name = "cloud-code-fake-github", version)]
struct Args {
    /// The port on the loopback; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The repository it begins with, as OWNER/NAME.
    #[arg(long, default_value = "acme/shop")]
    repo: String,
    /// Where webhooks go.
    #[arg(long, value_name = "URL")]
    deliver_to: Option<String>,
    /// Check every request against GitHub's description; needs the files of fetch.sh.
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let owner = match args.repo.split_once('/') {
        Some((owner, name)) if !owner.is_empty() && !name.is_empty() && !name.contains('/') => owner,
        _ => anyhow::bail!("--repo is `{}`, expected OWNER/NAME", args.repo),
    };
    let fake = FakeGithub::try_start(SocketAddr::from(([127, 0, 0, 1], args.port)), args.check)?;
    fake.repo(
        RepoSeed::new(&args.repo)
            .of_organization()
            .collaborator("alice", Role::Write)
            .label("ready-for-agent"),
    );
    let app = fake.app(AppSeed::new("cloud-code").installed_on(owner));
    let secret = "fake-webhook-secret";
    if let Some(url) = &args.deliver_to {
        fake.deliver_to(url, secret);
    }
    let issue = fake.user("alice").opens_issue(&args.repo, "Say hello", "The README says nothing.");
    let key = fake.folder().join("app-key.pem");
    fs::write(&key, fake.app_key()).with_context(|| format!("cannot write {}", key.display()))?;
    let token = fake.token("alice");
    let lines = [
        format!("api            {}", fake.api_url()),
        format!("web            {}", fake.web_url()),
        format!("clone          {}", fake.clone_url(&args.repo)),
        format!("issue          {}/{}/issues/{issue}", fake.web_url(), args.repo),
        format!("token (alice)  {token}"),
        format!("app id         {app}"),
        format!("app key        {}", key.display()),
        format!("webhook secret {secret}"),
    ];
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "ends with Ctrl-C")?;
    out.flush()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).context("cannot wait for a signal")?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C"),
            _ = terminated.recv() => Ok(()),
        }
    })
}
