//! `quell undo`.

use clap::Args;
use dialoguer::Confirm;

use super::prompt::show_cursor;
use super::run::started;
use super::setup::{self, Consent};
use super::{Ended, Global};
use crate::cluster::{Fault, Problem};
use crate::event::{RunKind, RunStatus, Undo};
use crate::report::escape::escape;

/// Arguments.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The incident: its id, the only one that begins or ends so, or "last"
    incident: String,
    /// Only show what would be taken back
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
}

pub(super) fn undo(global: &Global, args: UndoArgs) -> Ended {
    let dir = setup::state_dir(global)?.find(&args.incident)?;
    setup::block_on(async {
        let session = super::resume::reopen(global, &dir, &args.consent, None, u64::MAX).await?;
        let plan = session.plan_undo();
        if plan.possible.is_empty() {
            eprintln!("\nNothing of incident {} stands that can be taken back.", session.incident);
        } else {
            eprintln!("\nTaken back, newest first:");
        }
        for (_, op, _) in &plan.possible {
            let how = if let Undo::Automatic(how) = &op.undo { how.as_str() } else { "" };
            eprintln!("  ! {} {}: {}", op.verb, escape(&op.object.to_string()), escape(how));
        }
        for (op, why) in &plan.impossible {
            eprintln!("  ✗ {} {} can't be taken back: {}", op.verb, escape(&op.object.to_string()), escape(why));
        }
        if args.dry_run {
            return Ok(0);
        }
        if !plan.possible.is_empty() && !consented(&args.consent, session.prompt.is_some())? {
            return Err(Problem::new(Fault::Approval, "undo was not approved; nothing was changed"));
        }
        session.emit(started(&session, RunKind::Undo))?;
        setup::journal_overrides(&session, &args.consent)?;
        let result = session.undo(&plan).await;
        let sealed = matches!(&result, Ok((RunStatus::Done | RunStatus::Unproved | RunStatus::Failed, _)));
        let closed = session.close(result).await;
        if sealed {
            super::bundle::seal_now(&session, None)?;
        }
        closed.map(|(code, _)| code)
    })
}

fn consented(consent: &Consent, terminal: bool) -> Result<bool, Problem> {
    if consent.says_yes() {
        return Ok(true);
    }
    if !terminal {
        return Err(Problem::new(Fault::Approval, "undo needs an approval, and there is no terminal to ask at")
            .hint("give --yes"));
    }
    let answer =
        tokio::task::block_in_place(|| Confirm::new().with_prompt("Take it back?").default(false).interact_opt());
    show_cursor();
    Ok(answer.ok().flatten().unwrap_or(false))
}
