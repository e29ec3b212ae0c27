//! `quell doctor`: what this cluster, this identity and this namespace allow, before it is needed.

use clap::Args;
use serde_json::json;

use super::setup::Consent;
use super::{Ended, Global, print_json, print_text, setup};
use crate::action::survey::{Finding, survey};
use crate::evidence::sealed::Recipients;
use crate::exit;
use crate::report::escape::escape;

/// What to look for.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Image of quell's collector, by digest
    #[arg(long, value_name = "IMAGE", env = "QUELL_COLLECTOR_IMAGE", default_value = "", hide_default_value = true)]
    collector_image: String,
    /// Public keys of age that sensitive content is sealed for, separated by commas
    #[arg(long, value_name = "KEYS", env = "QUELL_RECIPIENTS", default_value = "", hide_default_value = true)]
    recipients: String,
}

/// Reads and dry runs; exit code 7 when isolation or every trustworthy way of capturing is lacking.
pub(super) fn doctor(global: &Global, args: &DoctorArgs) -> Ended {
    setup::block_on(async {
        let cluster = setup::connect(global, &Consent::usual()).await?;
        let (client, _) = cluster.reader();
        let id = &cluster.id;
        let mut all = survey(&client, &id.namespace, &args.collector_image).await?;
        all.push(sealing(&args.recipients));
        if global.json {
            print_json(&json!({"v": 1, "cluster": id, "clock": cluster.clock_check, "findings": all}));
        } else {
            let mut text = format!(
                "cluster    {} at {} ({})\nuser       {}\nnamespace  {}\n\n",
                escape(&id.context),
                escape(&id.server),
                escape(&id.version),
                escape(&id.user),
                escape(&id.namespace)
            );
            for finding in &all {
                text.push_str(&line(finding));
            }
            print_text(&text);
        }
        Ok(if good(&all) { 0 } else { exit::UNPROVED })
    })
}

/// Whether environments and mounted credentials can be taken at all.
fn sealing(recipients: &str) -> Finding {
    let texts: Vec<&str> = recipients.split(',').collect();
    let (able, detail) = match Recipients::parse(&texts) {
        Ok(Some(to)) if to.count() > 1 => (Some(true), format!("sensitive content is sealed for {} recipients", to.count())),
        Ok(Some(_)) => (Some(true), "sensitive content is sealed for 1 recipient: add a second one that is kept offline".into()),
        Ok(None) => (
            Some(false),
            "no recipients: environment variables and mounted credentials are left out; `age-keygen` makes a key, give its \
             public part with --recipients or QUELL_RECIPIENTS"
                .into(),
        ),
        Err(why) => (Some(false), why),
    };
    Finding { what: "sealing", able, detail }
}

fn line(finding: &Finding) -> String {
    let mark = match finding.able {
        Some(true) => "✓",
        Some(false) => "✗",
        None => "?",
    };
    format!("{mark} {:<20} {}\n", finding.what, escape(&finding.detail))
}

/// A pod can be cut off, and captured by a program of our own.
fn good(all: &[Finding]) -> bool {
    let able = |what: &str| all.iter().any(|f| f.what == what && f.able == Some(true));
    able("isolation") && (able("node-collector") || able("ephemeral-container"))
}
