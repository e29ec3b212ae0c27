//! What the files can speak for, in words and as JSON; and what therefore can't be known.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::coverage::Gap;
use super::query::Query;
use super::scan::{MAX_REQUESTS, Scan};
use super::source::NotRead;
use crate::clock;

/// What no audit log shows.
pub const BLIND_TO: [&str; 5] = [
    "what the audit policy leaves out, and events that the API server dropped (apiserver_audit_error_total counts them)",
    "an API server whose files were not given: whether there is one can't be told from the files",
    "a kubelet's own API (port 10250), static pods, and what a process does inside its pod",
    "etcd, read or written directly",
    "the cloud's own API",
];

/// The least that JSON readers need know of a resource.
const LEVELS: [&str; 4] = ["unknown", "Metadata", "Request", "RequestResponse"];

/// A gap in a sentence.
pub fn describe(gap: &Gap) -> String {
    let (from, to) = (clock::rfc3339(gap.from), clock::rfc3339(gap.to));
    match (gap.before_the_first, gap.after_the_last) {
        (true, true) => format!("no event from {from} to {to}: the files hold nothing of the window"),
        (true, false) => format!("the log begins only at {to}: {from} to {to} is not covered"),
        (false, true) => format!("the log ends at {from}: {from} to {to} is not covered"),
        (false, false) => format!("the audit log has a gap from {from} to {to}"),
    }
}

/// What a scan can speak for.
pub struct Answer<'a, S> {
    /// The scan.
    pub scan: &'a Scan<S>,
    /// What was asked.
    pub query: &'a Query,
    /// What was found and not read.
    pub not_read: &'a [NotRead],
    /// Gaps over all files.
    pub gaps: Vec<Gap>,
    /// Gaps of one API server's files while others go on: its name, and the gap.
    pub partial: Vec<(&'a str, Gap)>,
}

impl<'a, S> Answer<'a, S> {
    /// Of a scan.
    pub fn of(scan: &'a Scan<S>, query: &'a Query, not_read: &'a [NotRead]) -> Answer<'a, S> {
        let longest = scan.window.longest_gap;
        let gaps = scan.coverage.gaps(longest);
        let mut partial = Vec::new();
        for (name, coverage) in scan.series.iter().filter(|_| scan.series.len() > 1) {
            let inner = coverage.gaps(longest).into_iter().filter(|g| {
                // Before its first and after its last event a file just begins and ends.
                let ends = coverage.first().is_none_or(|first| first >= g.to)
                    || coverage.last().is_none_or(|last| last <= g.to && g.after_the_last);
                !ends && !g.before_the_first && !gaps.iter().any(|of_all| of_all.from <= g.from && g.to <= of_all.to)
            });
            partial.extend(inner.map(|gap| (name.as_str(), gap)));
        }
        Answer { scan, query, not_read, gaps, partial }
    }

    /// Why the answer may lack something; empty if it can't.
    pub fn doubts(&self) -> Vec<String> {
        let scan = self.scan;
        let mut doubts = Vec::new();
        if scan.events() == 0 && scan.files.iter().all(|f| f.outside.is_none()) {
            doubts.push("the files hold no audit event at all".into());
        }
        doubts.extend(self.gaps.iter().map(describe));
        doubts.extend(self.partial.iter().map(|(name, gap)| {
            let (from, to) = (clock::rfc3339(gap.from), clock::rfc3339(gap.to));
            format!("{name} has a gap from {from} to {to}: what that API server answered then is not known")
        }));
        if scan.coverage.scattered {
            doubts.push("the events lie further apart than 366 days: ask about a shorter time".into());
        }
        if scan.damaged() > 0 {
            doubts.push(format!("{} could not be read and may be what was asked for", count(scan.damaged(), "line")));
        }
        for file in &scan.files {
            if let Some(why) = &file.broke {
                doubts.push(format!("{} was not read to its end: {why}", file.file.path.display()));
            }
        }
        let not_read = self.not_read.iter().filter(|l| l.may_hold_events).count() as u64;
        if not_read > 0 {
            doubts.push(format!("{} beside was not read", count(not_read, "file or folder")));
        }
        if scan.not_kept > 0 {
            doubts.push(format!(
                "{} beyond the limit of {MAX_REQUESTS} requests are not shown: ask about a shorter time",
                count(scan.not_kept, "line")
            ));
        }
        let silent: u64 = scan.files.iter().map(|f| f.tally.without_impersonation).sum();
        if silent > 0 {
            doubts.push(format!(
                "{} of Azure's table AKSAudit, which does not tell as whom somebody asked to act: what was done by \
                 impersonation stands under the name of who did it (the category kube-audit in a storage account has it)",
                if silent == 1 { "1 event is a row".into() } else { format!("{silent} events are rows") }
            ));
        }
        doubts.extend(self.unrecorded());
        doubts
    }

    /// What the policy, or the cluster's version, seems not to record.
    fn unrecorded(&self) -> Vec<String> {
        let (scan, query) = (self.scan, self.query);
        let mut doubts = Vec::new();
        let reads_matter =
            query.verbs.is_empty() || query.verbs.iter().any(|v| matches!(v.as_str(), "get" | "list" | "watch"));
        if scan.events() > 0 && reads_matter {
            if scan.reads() == 0 {
                doubts.push(
                    "the log holds no read (get, list, watch) by anybody: its policy does not record reads".into(),
                );
            } else {
                for wanted in &query.objects {
                    let reads = |name: &String| wanted.kind.plurals.contains(name);
                    let read = scan.resources.iter().any(|(name, r)| name.as_ref().is_some_and(reads) && r.reads > 0);
                    if !read {
                        let plural = wanted.kind.plurals.first().map_or("", String::as_str);
                        doubts.push(format!(
                            "the log holds no read of {plural} by anybody: whether its policy records them can't be told"
                        ));
                    }
                }
            }
        }
        if scan.events() > 0 && query.by_credential() && !scan.credentials {
            doubts.push(
                "no event names the token or certificate it was made with (Kubernetes does from 1.32 on): by it nothing can \
                 be found"
                    .into(),
            );
        }
        doubts
    }

    /// What is worth knowing and leaves no doubt.
    pub fn notes(&self) -> Vec<String> {
        let scan = self.scan;
        let mut notes = Vec::new();
        let unread: u64 = scan.files.iter().map(|f| f.unread).sum();
        if unread > 0 {
            let since = scan.window.start.map(clock::rfc3339).unwrap_or_default();
            notes.push(format!("read back to {since} only: the newest requests were all found by then"));
        }
        if scan.claimed_addresses > 0 {
            notes.push(format!(
                "{} name the address where a client can write what it likes, and are left out: --trusted-proxies tells which \
                 proxies' word is good",
                count(scan.claimed_addresses, "line")
            ));
        }
        if scan.truncated > 0 {
            notes.push(format!(
                "{} had bodies cut off by the API server for their size",
                count(scan.truncated, "event")
            ));
        }
        let others: u64 = scan.files.iter().map(|f| f.tally.others).sum();
        if others > 0 {
            notes.push(format!("{} are another component's and no requests", count(others, "record")));
        }
        notes
    }

    /// The `coverage` of the JSON document.
    pub fn json(&self) -> Value {
        let scan = self.scan;
        let time = |t: Option<OffsetDateTime>| t.map(clock::rfc3339);
        let gap = |g: &Gap| json!({"from": clock::rfc3339(g.from), "to": clock::rfc3339(g.to), "what": describe(g)});
        let path = |file: usize| scan.files.get(file).map(|f| f.file.path.display().to_string());
        json!({
            "asked": { "from": time(scan.window.start), "to": time(scan.window.until) },
            "firstEvent": time(scan.coverage.first()),
            "lastEvent": time(scan.coverage.last()),
            "longestSilenceSeconds": scan.window.longest_gap.whole_seconds(),
            "events": scan.events(),
            "reads": scan.reads(),
            "gaps": self.gaps.iter().map(gap).collect::<Vec<_>>(),
            "apiServers": scan.series.iter().map(|(name, c)| json!({
                "files": name,
                "firstEvent": time(c.first()),
                "lastEvent": time(c.last()),
                "gaps": self.partial.iter().filter(|(of, _)| of == name).map(|(_, g)| gap(g)).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "resources": scan.resources.iter().map(|(name, r)| json!({
                "resource": name.as_deref().map_or("(others, not told apart)", |n| if n.is_empty() { "(no resource)" } else { n }),
                "reads": r.reads,
                "others": r.others,
                "levels": LEVELS.iter().zip(r.levels).filter(|(_, n)| *n > 0)
                    .map(|(level, n)| ((*level).to_owned(), Value::from(n))).collect::<serde_json::Map<_, _>>(),
            })).collect::<Vec<_>>(),
            "truncatedEvents": scan.truncated,
            "damagedLines": scan.damaged(),
            "damage": scan.damage.iter().map(|d| json!({
                "file": path(d.file), "line": d.line, "offset": d.offset, "what": d.what,
            })).collect::<Vec<_>>(),
            "files": scan.files.iter().map(|f| json!({
                "path": f.file.path.display().to_string(),
                "packing": f.file.packing.as_str(),
                "bytes": f.tally.bytes,
                "events": f.tally.events,
                "otherRecords": f.tally.others,
                "damagedLines": f.tally.damaged,
                "firstEvent": time(f.tally.first().or(f.outside.map(|(first, _)| first))),
                "lastEvent": time(f.tally.last().or(f.outside.map(|(_, last)| last))),
                "outsideTheTimeAsked": f.outside.is_some(),
                "unreadBytes": f.unread,
                "broke": f.broke,
            })).collect::<Vec<_>>(),
            "notRead": self.not_read.iter().map(|l| json!({
                "path": l.path.display().to_string(), "why": l.why,
            })).collect::<Vec<_>>(),
            "cannotBeKnown": self.doubts(),
            "notes": self.notes(),
            "blindTo": BLIND_TO,
        })
    }
}

/// `1 line`, `2 lines`.
fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
