//! `quell audit`: who did what, from the audit log's files, and what can't be known from them.

mod ask;
mod csv;
mod diff;
mod findings;
mod graph;
mod json;
mod show;
mod text;

use std::io::{BufWriter, IsTerminal, Write};

use clap::{Args, Subcommand};

use super::{Ended, Global};
use crate::audit::detect::Looked;
use crate::audit::{self, Answer, Event, LogFile, Originals, Query, Request, Row, Scan, Task};
use crate::clock::Clock;
use crate::cluster::Problem;
use crate::exit;
use crate::report::escape::escape;

pub use ask::{FilterArgs, SourceArgs, TimeArgs};

/// One worker's part of the findings.
type Seen = Option<Looked>;
/// What one pass found.
type Found = Scan<Seen>;

/// What else is asked of a log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// What an identity did in one time that it never did in another
    Diff(Box<diff::DiffArgs>),
    /// Who reached a Secret, or what an identity reached, and through whom
    Graph(Box<graph::GraphArgs>),
    /// The original of an event, by the file and byte that an answer names
    Show(show::ShowArgs),
}

/// Arguments.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    findings: findings::FindingArgs,
    #[command(flatten)]
    form: FormArgs,
    /// Only so many requests, the newest; reading ends when they are sure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// How it is printed.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct FormArgs {
    /// Columns; the default
    #[arg(long, help_heading = "Output")]
    table: bool,
    /// By time, with gaps in their place
    #[arg(long, help_heading = "Output")]
    timeline: bool,
    /// Comma-separated values, safe in a spreadsheet
    #[arg(long, help_heading = "Output")]
    csv: bool,
    /// One request a line, as JSON; coverage on standard error
    #[arg(long, help_heading = "Output")]
    jsonl: bool,
}

/// Reads, prints, and ends with 7 if something can't be known.
pub(super) fn audit(global: &Global, args: &AuditArgs) -> Ended {
    match &args.command {
        Some(AuditCommand::Diff(args)) => return diff::diff(global, args),
        Some(AuditCommand::Graph(args)) => return graph::graph(global, args),
        Some(AuditCommand::Show(args)) => return show::show(global, args),
        None => {}
    }
    let form = &args.form;
    if global.json && (form.table || form.timeline || form.csv || form.jsonl) {
        return Err(Problem::usage(
            "--json is one form of output and --table, --timeline, --csv and --jsonl are others",
        ));
    }
    let mut query = args.filters.query()?;
    let asked = args.findings.asked(&query)?;
    // Findings of everything, and not everything besides.
    query.nothing = args.findings.findings && !query.filters();
    let window = args.time.window(Clock::System)?;
    let (files, not_read) = args.sources.find(global)?;
    if files.is_empty() {
        return Err(
            Problem::usage("there is no file to read").hint("name a file or a folder of the API server's audit log")
        );
    }
    let bar = bar(global, &files);
    let logs = args.sources.texts();
    let ours = |event: &Event<'_>| query.matches(event);
    let looking = asked.looking(query.filters().then_some(&ours));
    let mut scan = audit::scan(Task {
        files,
        query: &query,
        window,
        limit: args.limit.and_then(|n| usize::try_from(n).ok()),
        watch: &looking,
        threads: None,
        progress: &|bytes| bar.set_position(bytes),
    })?;
    bar.finish_and_clear();
    let report = asked.report(looking.as_ref(), std::mem::take(&mut scan.seen));
    let report = report.as_ref();
    let mut originals = std::mem::take(&mut scan.originals);
    let mut rows = Rows { scan: &scan, query: &query, originals: &mut originals };
    let answer = Answer::of(&scan, &query, &not_read);
    let more = report.map(|report| asked.doubts(report)).unwrap_or_default();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let printed = (|| {
        if global.json {
            return json::document(&mut out, &mut rows, &answer, report, &logs, &more);
        } else if form.jsonl {
            return json::lines(&mut out, &mut rows, report, &logs);
        } else if form.csv {
            return csv::print(&mut out, &mut rows);
        }
        if let Some(report) = report {
            findings::print(&mut out, report, &scan, &logs)?;
        }
        if form.timeline {
            text::timeline(&mut out, &mut rows, &answer)?;
        } else if !query.nothing {
            text::table(&mut out, &mut rows)?;
        }
        Ok(text::coverage(&mut out, &answer, &more)?)
    })();
    printed.and_then(|()| out.flush().map_err(Into::into)).or_else(Gone::forgive)?;
    if (form.jsonl || form.csv) && !global.quiet {
        // A reader that went away wants no more.
        let _ = text::coverage(&mut std::io::stderr().lock(), &answer, &more);
    }
    Ok(if answer.doubts().is_empty() && more.is_empty() { exit::DONE } else { exit::UNPROVED })
}

/// A bar on a terminal; nothing elsewhere.
fn bar(global: &Global, files: &[LogFile]) -> indicatif::ProgressBar {
    let total: u64 = files.iter().filter(|f| f.packing == audit::Packing::Plain).map(|f| f.size).sum();
    if global.quiet || !std::io::stderr().is_terminal() || total < 64 * 1024 * 1024 {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("reading {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}")
        .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar());
    indicatif::ProgressBar::new(total).with_style(style)
}

/// Why printing ended.
enum Gone {
    /// What was to be printed could not be made.
    Problem(Problem),
    /// Standard output took no more.
    Output(std::io::Error),
}

impl Gone {
    /// A reader that went away wants no more; a full disk is another matter.
    fn forgive(self) -> Result<(), Problem> {
        match self {
            Gone::Problem(problem) => Err(problem),
            Gone::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Gone::Output(e) => Err(Problem::failed(format!("can't write to standard output: {e}"))),
        }
    }
}

impl From<std::io::Error> for Gone {
    fn from(error: std::io::Error) -> Gone {
        Gone::Output(error)
    }
}

impl From<Problem> for Gone {
    fn from(problem: Problem) -> Gone {
        Gone::Problem(problem)
    }
}

/// The requests as rows, one at a time: they are read anew from the files.
struct Rows<'a> {
    scan: &'a Found,
    query: &'a Query,
    originals: &'a mut Originals,
}

impl Rows<'_> {
    fn requests(&self) -> &[Request] {
        &self.scan.requests
    }

    fn row(&mut self, at: usize) -> Result<Row, Problem> {
        let request = self.scan.requests[at];
        let file = self.scan.files.get(request.origin.file as usize);
        let name = file.map(|f| f.file.path.display().to_string()).unwrap_or_default();
        self.originals.event(&request, |event| Row::of(event, &request, self.query, &name))
    }

    fn each(&mut self, mut take: impl FnMut(Row) -> Result<(), Gone>) -> Result<(), Gone> {
        for at in 0..self.requests().len() {
            take(self.row(at)?)?;
        }
        Ok(())
    }
}

/// Text from the log, cut to so many characters and made safe.
fn shown(text: &str, longest: usize) -> String {
    let mut cut: String = text.chars().take(longest + 1).collect();
    if cut.chars().count() > longest {
        cut = cut.chars().take(longest.saturating_sub(1)).collect();
        cut.push('…');
    }
    escape(&cut).into_owned()
}
