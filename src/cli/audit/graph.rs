//! `quell audit graph`: who reached what through whom, as text, DOT or JSON.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};

use super::ask::{net, pair};
use super::{Ended, Global, SourceArgs, TimeArgs, json as out_json, shown};
use crate::audit::graph::{At, Edge, FORMAT, Gathered, Graph, Graphing, Kind, Target};
use crate::audit::{self, Answer, Query, Scan, Task, Wanted};
use crate::clock::{Clock, rfc3339};
use crate::cluster::Problem;
use crate::exit;
use crate::report::escape::escape;

/// Arguments.
#[derive(Debug, Args)]
pub struct GraphArgs {
    #[command(flatten)]
    of: OfArgs,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    time: TimeArgs,
    /// Proxies before the API server: the address before theirs is taken
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    trusted_proxies: Vec<String>,
    /// For Graphviz: `… --dot | dot -Tsvg > graph.svg`; coverage on standard error
    #[arg(long)]
    dot: bool,
}

/// What is asked about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct OfArgs {
    /// Who reached this Secret, and through whom
    #[arg(long, value_name = "NS/NAME")]
    secret: Option<String>,
    /// What led to this user, and where it led
    #[arg(long, value_name = "USER")]
    subject: Option<String>,
    /// The same of a service account
    #[arg(long, value_name = "NS/NAME")]
    service_account: Option<String>,
}

impl OfArgs {
    /// The target, and the question that coverage is told for.
    fn target(&self) -> Result<(Target, Query), Problem> {
        let mut query = Query { nothing: true, ..Query::default() };
        let target = if let Some(text) = &self.secret {
            let (namespace, name) = pair("secret", text)?;
            query.objects.push(Wanted::secret(&namespace, &name));
            Target::Secret(namespace, name)
        } else if let Some(text) = &self.service_account {
            let (namespace, name) = pair("service-account", text)?;
            query.service_accounts.push((namespace.clone(), name.clone()));
            Target::Identity(format!("system:serviceaccount:{namespace}:{name}"))
        } else {
            let name = self.subject.clone().unwrap_or_default();
            if name.trim().is_empty() {
                return Err(Problem::usage("--subject: a user's name is needed"));
            }
            query.subjects.push(name.clone());
            Target::Identity(name)
        };
        Ok((target, query))
    }
}

pub(super) fn graph(global: &Global, args: &GraphArgs) -> Ended {
    if args.dot && global.json {
        return Err(Problem::usage("--dot is one form of output and --json is another"));
    }
    let (target, mut query) = args.of.target()?;
    query.trusted_proxies =
        args.trusted_proxies.iter().map(|text| net("trusted-proxies", text)).collect::<Result<_, _>>()?;
    let window = args.time.window(Clock::System)?;
    let (files, not_read) = args.sources.find(global)?;
    let watch = Graphing::of(&target, &query.trusted_proxies);
    let bar = super::bar(global, &files);
    let progress = |bytes| bar.set_position(bytes);
    let task = Task { files, query: &query, window, limit: None, watch: &watch, threads: None, progress: &progress };
    let mut scan = audit::scan(task)?;
    bar.finish_and_clear();
    let mut gathered = Gathered::default();
    std::mem::take(&mut scan.seen).into_iter().for_each(|seen| gathered.merge(seen));
    let graph = gathered.reach(&target);
    let answer = Answer::of(&scan, &query, &not_read);
    let doubts = answer.doubts();
    if global.json {
        let document = document(&graph, &scan, &query, answer.json());
        super::super::print_text(&(out_json::safe(&document) + "\n"));
    } else if args.dot {
        super::super::print_text(&dot(&graph));
        eprint!("{}", caveats(&graph, &doubts));
    } else {
        super::super::print_text(&(text(&graph, &scan) + &caveats(&graph, &doubts)));
    }
    Ok(if doubts.is_empty() { exit::DONE } else { exit::UNPROVED })
}

/// What is not in the graph, for people.
fn caveats(graph: &Graph, doubts: &[String]) -> String {
    let mut out = String::new();
    for line in &graph.folded {
        let _ = writeln!(out, "  folded   {}", escape(line));
    }
    if !doubts.is_empty() {
        out.push_str("\nCan't be known from this log, so the graph may lack something:\n");
        doubts.iter().for_each(|doubt| {
            let _ = writeln!(out, "  - {}", escape(doubt));
        });
    }
    out.push_str("\nNo audit log shows:\n");
    for what in audit::BLIND_TO.iter().chain(&["what came into a pod or a node, and took a Secret or a token there"]) {
        let _ = writeln!(out, "  - {what}");
    }
    out
}

fn count(edge: &Edge) -> String {
    let failed = match edge.failed {
        0 => String::new(),
        n if n == edge.requests => ", all failed".into(),
        n => format!(", {n} failed"),
    };
    // A membership is no request.
    match edge.requests {
        0 => String::new(),
        n => format!("{n}{}{failed}", if edge.at_least { "+" } else { "" }),
    }
}

/// One line an edge, the nearest to what was asked about first.
fn text(graph: &Graph, scan: &Scan<Gathered>) -> String {
    let mut out = String::new();
    let Some(seed) = graph.nodes.first() else { return out };
    let _ = writeln!(out, "{} {}\n", seed.kind.as_str(), shown(&seed.name, 200));
    if graph.edges.is_empty() {
        let _ = writeln!(out, "nothing in the log leads to it\n");
    }
    let name = |at: usize| match graph.nodes.get(at) {
        Some(node) => format!("{} {}", node.kind.as_str(), shown(&node.name, 120)),
        None => String::new(),
    };
    let mut edges: Vec<_> = graph.edges.iter().collect();
    edges.sort_by_key(|(from, _, to, edge)| ((*from).min(*to), edge.first.time));
    for (from, relation, to, edge) in edges {
        let last = edge.last.as_ref().filter(|last| last.time > edge.first.time);
        let last = last.map(|last| format!(" to {}", rfc3339(last.time))).unwrap_or_default();
        let counted = match count(edge) {
            counted if counted.is_empty() => String::new(),
            counted => format!("  ({counted})"),
        };
        let _ = writeln!(
            out,
            "  {}  {relation}  {}{counted}\n      {}{last}  {}",
            name(*from),
            name(*to),
            rfc3339(edge.first.time),
            shown(&place(&edge.first, scan), 300)
        );
    }
    let _ = writeln!(out, "\n{} events were looked at", scan.events());
    out
}

/// `FILE:OFFSET`, as `quell audit show` takes it.
fn place(at: &At, scan: &Scan<Gathered>) -> String {
    let file = scan.files.get(at.file as usize).map(|f| f.file.path.display().to_string()).unwrap_or_default();
    format!("{file}:{}", at.offset)
}

/// For Graphviz. Text from the log stands in quoted strings only, with what is special in them escaped.
///
/// <https://graphviz.org/doc/info/lang.html>, <https://graphviz.org/docs/attr-types/escString/>
fn dot(graph: &Graph) -> String {
    let mut out = String::from("digraph quell {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (at, node) in graph.nodes.iter().enumerate() {
        let shape = match node.kind {
            Kind::Address => "plaintext",
            Kind::Credential => "note",
            Kind::Identity | Kind::Group => "ellipse",
            Kind::Pod | Kind::Workload => "component",
            Kind::Binding => "tab",
            Kind::Secret => "cylinder",
        };
        let bold = if at == 0 { ", style=bold" } else { "" };
        let label = format!("{}\\n{}", node.kind.as_str(), quoted(&node.name));
        let _ = writeln!(out, "  n{at} [label=\"{label}\", shape={shape}{bold}];");
    }
    for (from, relation, to, edge) in &graph.edges {
        let style = if edge.last.is_none() { ", style=dashed" } else { "" };
        let counted = count(edge);
        let label = format!("{relation}\\n{}\\n{}", counted, rfc3339(edge.first.time));
        let _ = writeln!(out, "  n{from} -> n{to} [label=\"{label}\"{style}];");
    }
    out.push_str("}\n");
    out
}

fn quoted(text: &str) -> String {
    shown(text, 120).replace('\\', "\\\\").replace('"', "\\\"")
}

fn document(graph: &Graph, scan: &Scan<Gathered>, query: &Query, coverage: Value) -> Value {
    let at = |at: &At| {
        let file = scan.files.get(at.file as usize).map(|f| f.file.path.display().to_string());
        json!({"time": rfc3339(at.time), "file": file, "offset": at.offset, "length": at.len})
    };
    json!({
        "v": FORMAT,
        "kind": "quell-audit-graph",
        "query": query.json(),
        "nodes": graph.nodes.iter().enumerate().map(|(at, node)| json!({
            "id": format!("n{at}"), "kind": node.kind.as_str(), "name": &*node.name, "asked": at == 0,
        })).collect::<Vec<_>>(),
        "edges": graph.edges.iter().map(|(from, relation, to, edge)| json!({
            "from": format!("n{from}"),
            "to": format!("n{to}"),
            "relation": relation,
            "requests": edge.requests,
            "requestsAreTheLeast": edge.at_least,
            "failed": edge.failed,
            "first": at(&edge.first),
            "lastThatWorked": edge.last.as_ref().map(at),
        })).collect::<Vec<_>>(),
        "folded": graph.folded,
        "coverage": coverage,
    })
}
