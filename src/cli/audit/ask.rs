//! What is asked, from the command line.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use time::{Duration, OffsetDateTime};

use super::Global;
use crate::audit::{self, LogFile, NotRead, Query, Wanted, Window};
use crate::clock::{self, Clock};
use crate::cluster::Problem;
use crate::report::escape::escape;
use crate::runbook::parse_duration;

/// Whose requests, and to what. Filters combine; of several values of one filter, one must hold.
#[derive(Debug, Clone, Args)]
pub struct FilterArgs {
    /// A user name, as the log writes it; finds what it did as somebody else, and what others did as it
    #[arg(long, value_name = "USER", help_heading = "Filters")]
    subject: Vec<String>,
    /// A service account, in the same way
    #[arg(long, value_name = "NS/NAME", help_heading = "Filters")]
    service_account: Vec<String>,
    /// A pod whose own token was used
    #[arg(long, value_name = "NS/NAME", help_heading = "Filters")]
    pod: Vec<String>,
    /// A node: its kubelet, and tokens bound to it or to its pods
    #[arg(long, value_name = "NODE", help_heading = "Filters")]
    node: Vec<String>,
    /// A Secret; lists and watches that hold it count as reads of it
    #[arg(long, value_name = "NS/NAME", help_heading = "Filters")]
    secret: Vec<String>,
    /// An object, in the same way: KIND, KIND/NAME, KIND/NS/NAME; KIND as kubectl takes it
    #[arg(long, value_name = "KIND[/NS]/NAME", help_heading = "Filters")]
    object: Vec<String>,
    /// An address or a range, held against the one address that the client can't set
    #[arg(long, value_name = "CIDR", help_heading = "Filters")]
    source_ip: Vec<String>,
    /// A token's id, or a client certificate's SHA-256 fingerprint: its uses, and where it was issued
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    session: Vec<String>,
    /// A user agent; * stands for any text, ? for one character
    #[arg(long, value_name = "GLOB", help_heading = "Filters")]
    user_agent: Vec<String>,
    /// get, list, watch, create, update, patch, delete, deletecollection
    #[arg(long, value_name = "VERB", value_delimiter = ',', help_heading = "Filters")]
    verb: Vec<String>,
    /// Proxies before the API server: the address before theirs is taken
    #[arg(long, value_name = "CIDR", value_delimiter = ',', help_heading = "Filters")]
    trusted_proxies: Vec<String>,
}

/// Which time.
#[derive(Debug, Clone, Args)]
pub struct TimeArgs {
    /// How far back from --until
    #[arg(long, value_name = "DURATION", conflicts_with = "from", help_heading = "Time")]
    since: Option<String>,
    /// From when on, RFC 3339; without it or --since: as far back as the log goes
    #[arg(long, value_name = "TIME", help_heading = "Time")]
    from: Option<String>,
    /// Until when; default with --since and --from: now
    #[arg(long, value_name = "TIME", help_heading = "Time")]
    until: Option<String>,
    /// Silence of everybody for longer than this counts as a gap
    #[arg(long, value_name = "DURATION", default_value = "5m", help_heading = "Time")]
    gap: String,
}

impl FilterArgs {
    /// The query; every value checked.
    pub fn query(&self) -> Result<Query, Problem> {
        let bad = |option: &str, why: String| Problem::usage(format!("--{option}: {why}"));
        let mut objects = Vec::new();
        for text in &self.secret {
            let (namespace, name) = pair("secret", text)?;
            objects.push(Wanted::secret(&namespace, &name));
        }
        for text in &self.object {
            objects.push(Wanted::parse(text).map_err(|why| bad("object", why))?);
        }
        let mut service_accounts = Vec::new();
        for text in &self.service_account {
            let short = text.strip_prefix("system:serviceaccount:").map(|rest| rest.replacen(':', "/", 1));
            service_accounts.push(pair("service-account", short.as_deref().unwrap_or(text))?);
        }
        let mut user_agents = Vec::new();
        for text in &self.user_agent {
            user_agents.push(glob::Pattern::new(text).map_err(|e| bad("user-agent", format!("{text:?}: {e}")))?);
        }
        if let Some(empty) = self.subject.iter().chain(&self.node).chain(&self.verb).find(|t| t.trim().is_empty()) {
            return Err(Problem::usage(format!("a filter's value is empty: {empty:?}")));
        }
        Ok(Query {
            subjects: self.subject.clone(),
            service_accounts,
            pod_uids: Vec::new(),
            pods: self.pod.iter().map(|text| pair("pod", text)).collect::<Result<_, _>>()?,
            nodes: self.node.clone(),
            objects,
            source_ips: self.source_ip.iter().map(|text| net("source-ip", text)).collect::<Result<_, _>>()?,
            sessions: self.session.iter().map(|text| session(text)).collect::<Result<_, _>>()?,
            user_agents,
            verbs: self.verb.iter().map(|v| v.trim().to_ascii_lowercase()).collect(),
            trusted_proxies: self
                .trusted_proxies
                .iter()
                .map(|t| net("trusted-proxies", t))
                .collect::<Result<_, _>>()?,
            nothing: false,
        })
    }
}

impl TimeArgs {
    /// The window; `clock` tells what "now" is.
    pub fn window(&self, clock: Clock) -> Result<Window, Problem> {
        let duration = |option: &str, text: &str| {
            let parsed = parse_duration(text).map_err(|why| Problem::usage(format!("--{option}: {why}")))?;
            Duration::try_from(parsed).map_err(|_| Problem::usage(format!("--{option}: {text} is too long")))
        };
        let until = self.until.as_deref().map(|text| instant("until", text)).transpose()?;
        let from = self.from.as_deref().map(|text| instant("from", text)).transpose()?;
        let until = match until {
            None if from.is_some() || self.since.is_some() => Some(clock.now()),
            until => until,
        };
        let start = match &self.since {
            Some(text) => {
                let back = duration("since", text)?;
                until.and_then(|until| until.checked_sub(back))
            }
            None => from,
        };
        if start.zip(until).is_some_and(|(start, until)| start >= until) {
            return Err(Problem::usage("the time asked for ends before it begins"));
        }
        Ok(Window { start, until, longest_gap: duration("gap", &self.gap)?.max(Duration::SECOND) })
    }
}

/// An RFC 3339 time, or a day.
pub(super) fn instant(option: &str, text: &str) -> Result<OffsetDateTime, Problem> {
    clock::parse(text).or_else(|_| clock::parse(&format!("{text}T00:00:00Z"))).map_err(|e| {
        Problem::usage(format!("--{option}: {text:?} is no time: {e}"))
            .hint("write it as 2026-11-23T03:12:45Z, with an offset, or as a day, 2026-11-23, in UTC")
    })
}

pub(super) fn pair(option: &str, text: &str) -> Result<(String, String), Problem> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.into(), name.into()))
        }
        _ => Err(Problem::usage(format!("--{option}: {text:?} must be NAMESPACE/NAME"))),
    }
}

pub(super) fn net(option: &str, text: &str) -> Result<IpNet, Problem> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map(|net| net.trunc())
        .map_err(|_| Problem::usage(format!("--{option}: {text:?} is neither an address nor a range like 10.0.0.0/8")))
}

/// As the log writes a credential's id, without what kind it is; a fingerprint in whatever form a tool prints it.
fn session(text: &str) -> Result<String, Problem> {
    let bare = text.trim_start_matches("JTI=").trim_start_matches("X509SHA256=").trim_start_matches("SHA256:");
    let hex: String = bare.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
    let fingerprint = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    match bare {
        "" => Err(Problem::usage("--session: a token's id or a certificate's fingerprint is needed")),
        _ if bare.starts_with("eyJ") => Err(Problem::usage("--session: that is a token, not its id").hint(
            "a token must not stand on a command line: it may be used by whoever reads it there. Give its `jti`",
        )),
        _ if fingerprint => Ok(hex),
        _ => Ok(bare.to_owned()),
    }
}

/// The files, and where they lie.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Files, folders, patterns of rotated logs, - for standard input, or s3://, gs:// and az:// with BUCKET/PREFIX; plain,
    /// gzip or zstd
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<PathBuf>,
}

impl SourceArgs {
    /// The files; from which object store is said on standard error.
    pub fn find(&self, global: &Global) -> Result<(Vec<LogFile>, Vec<NotRead>), Problem> {
        let found = audit::find(&self.sources)?;
        let places: BTreeSet<String> = found.0.iter().filter_map(|file| audit::bucket(&file.path)).collect();
        for place in places.iter().filter(|_| !global.quiet) {
            eprintln!("reading from the {}", escape(place));
        }
        Ok(found)
    }

    /// As they were given.
    pub fn texts(&self) -> Vec<String> {
        self.sources.iter().map(|path| path.display().to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_taken_in_every_form_but_its_own() {
        assert_eq!(session("JTI=abc-1").unwrap(), "abc-1");
        let hex = "AB".repeat(32);
        let colons = (0..32).map(|_| "AB").collect::<Vec<_>>().join(":");
        for text in [hex.clone(), colons, format!("X509SHA256={hex}")] {
            assert_eq!(session(&text).unwrap(), "ab".repeat(32));
        }
        let problem = session("eyJhbGciOi.secret").unwrap_err();
        assert!(!problem.message.contains("secret"));
    }

    #[test]
    fn the_window_is_what_was_written() {
        let now = Clock::Fixed(clock::parse("2026-11-23T12:00:00Z").unwrap());
        let args = |since: Option<&str>, from: Option<&str>, until: Option<&str>| TimeArgs {
            since: since.map(Into::into),
            from: from.map(Into::into),
            until: until.map(Into::into),
            gap: "5m".into(),
        };
        let window = args(Some("24h"), None, None).window(now).unwrap();
        assert_eq!(window.start.map(clock::rfc3339).unwrap(), "2026-11-22T12:00:00.000Z");
        assert_eq!(window.until, Some(now.now()));
        let window = args(None, Some("2026-11-20"), Some("2026-11-21T00:00:00+01:00")).window(now).unwrap();
        assert_eq!(window.until.map(clock::rfc3339).unwrap(), "2026-11-20T23:00:00.000Z");
        assert_eq!(args(None, None, None).window(now).unwrap().start, None);
        assert!(args(None, Some("2026-11-24"), None).window(now).is_err());
    }
}
