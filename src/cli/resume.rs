//! `quell resume`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::run::{headline, inputs_of, started, work_through};
use super::setup::{self, Consent, Part, Work};
use super::{Ended, Global};
use crate::clock::Clock;
use crate::cluster::Problem;
use crate::engine::{Session, State};
use crate::event::{Event, NoteLevel, RunKind};
use crate::journal::Journal;

/// Arguments.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The incident: its id, the only one that begins or ends so, or "last"
    incident: String,
    /// Bytes that one artifact may have
    #[arg(long, value_name = "SIZE", default_value = "100GiB", value_parser = setup::size)]
    max_bytes: u64,
    /// Where the bundle goes; else the working directory, else the incident's folder
    #[arg(long, value_name = "DIR")]
    bundle_dir: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    part: Part,
}

pub(super) fn resume(global: &Global, args: ResumeArgs) -> Ended {
    let dir = setup::state_dir(global)?.find(&args.incident)?;
    go_on(global, &dir, &args.consent, Some(&args.part), args.max_bytes, args.bundle_dir.as_deref())
}

/// Goes on with an incident where its journal ends.
pub(super) fn go_on(
    global: &Global,
    dir: &Path,
    consent: &Consent,
    part: Option<&Part>,
    max_bytes: u64,
    bundle_dir: Option<&Path>,
) -> Ended {
    setup::block_on(async {
        let session = reopen(global, dir, consent, part, max_bytes).await?;
        session.emit(started(&session, RunKind::Resume))?;
        setup::journal_overrides(&session, consent)?;
        work_through(&session, global, bundle_dir).await
    })
}

/// Locks an incident, reads its journal and connects to its cluster.
///
/// # Errors
/// [`crate::cluster::Fault::Locked`] when another process works on it; a refusal when this is another cluster.
pub(super) async fn reopen(
    global: &Global,
    dir: &Path,
    consent: &Consent,
    part: Option<&Part>,
    max_bytes: u64,
) -> Result<Session, Problem> {
    let (journal, torn) = Journal::open(dir, Clock::System)?;
    let state = State::of(&crate::journal::read(dir)?);
    let runbook = setup::runbook_of(dir, &state)?;
    let selection = part.map(|p| p.selection(&runbook)).transpose()?.unwrap_or_default();
    let mut cluster = setup::connect(global, consent).await?;
    same_cluster(&state, &cluster.id)?;
    // What `-n` said then holds on: a runbook need not have it as an input.
    if let (None, Some(Event::Opened { cluster: then, .. })) = (&global.namespace, &state.opened) {
        cluster.id.namespace = then.namespace.clone();
    }
    let incident = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_string();
    let work = Work {
        cluster,
        inputs: inputs_of(&state),
        runbook,
        incident,
        dir: dir.to_path_buf(),
        journal: Some(journal),
        state,
        selection,
        max_bytes,
    };
    let session = setup::session(global, consent, work)?;
    headline(&session, global.quiet);
    if let Some(torn) = torn {
        session.emit(Event::Note { step: None, level: NoteLevel::Warning, text: torn })?;
    }
    Ok(session)
}

/// The same incident on another cluster would find nothing of what it did.
fn same_cluster(state: &State, now: &crate::event::ClusterId) -> Result<(), Problem> {
    let Some(Event::Opened { cluster: then, .. }) = &state.opened else { return Ok(()) };
    let same = match (&then.uid, &now.uid) {
        (Some(a), Some(b)) => a == b,
        _ => then.server == now.server,
    };
    if same {
        return Ok(());
    }
    Err(Problem::refused(format!(
        "this incident is on cluster {} at {}, and this is {} at {}",
        then.cluster, then.server, now.cluster, now.server
    ))
    .hint("choose the incident's cluster with --context or --kubeconfig"))
}
