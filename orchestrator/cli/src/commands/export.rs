//! `export`: the whole story of an issue and all that is kept of it, in one file.

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use cloud_code_forge::Scrubber;
use cloud_code_history::{Existing, Export, ExportError, Mask};

use super::show::{rows, size, told};
use crate::app::{App, full_name};
use crate::args::ExportArgs;
use crate::ui;

/// How the file's name must end.
const SUFFIXES: [&str; 2] = [".tar.gz", ".tgz"];

struct Scrub<'a>(&'a Scrubber);

impl Mask for Scrub<'_> {
    fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.0.scrub(text)
    }
}

/// `cloud-code export`.
pub(crate) async fn run(app: &App, args: ExportArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    let name = full_name(&issue);
    let path =
        args.output.unwrap_or_else(|| PathBuf::from(format!("{}-{}.tar.gz", issue.project, issue.key)));
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !SUFFIXES.iter().any(|suffix| file_name.ends_with(suffix)) {
        bail!(
            "{} does not end in .tar.gz\n  hint: it is what is written: --output {}.tar.gz",
            path.display(),
            path.display()
        );
    }
    let rows = rows(&store, issue).await?;
    keep_secrets(app, &rows);
    let (kept, story) = told(app, &rows)?;
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    let mask = Scrub(&app.scrubber);
    let written = Export { rows: &rows, story: &story, kept: &kept, mask: &mask }.write(&path, existing);
    let count = match written {
        Ok(count) => count,
        Err(ExportError::Exists { path }) => {
            bail!("{} exists already\n  hint: --force replaces it", path.display())
        }
        Err(error) => return Err(error.into()),
    };
    let bytes = std::fs::metadata(&path).map(|meta| size(meta.len())).unwrap_or_default();
    let attempts = match kept.len() {
        1 => "1 attempt".to_owned(),
        count => format!("{count} attempts"),
    };
    ui::out(format!("exported {name} with {attempts} to {} ({count} files, {bytes})", path.display()));
    if !story.dropped.is_empty() {
        ui::err(format!("{} of its attempts were dropped from the history before", story.dropped.len()));
    }
    Ok(ExitCode::SUCCESS)
}

/// What its tasks were given is known to this shell, if it is set here; all of it is then taken out once more.
fn keep_secrets(app: &App, rows: &cloud_code_history::Rows) {
    for record in &rows.tasks {
        let plan = &record.task.plan;
        let manifest = app.catalog.manifest_for(plan).ok();
        let credentials = manifest.iter().flat_map(|manifest| &manifest.credentials);
        for name in credentials.chain(&plan.secrets) {
            if let Ok(value) = std::env::var(name)
                && !value.is_empty()
            {
                app.scrubber.keep(value.into());
            }
        }
    }
}
