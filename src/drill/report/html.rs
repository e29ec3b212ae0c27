//! The report as one self-contained page: it needs no script and asks nobody for anything.

use super::timeline::{svg, trend};
use super::{HOW, area_name, improvement, milestone_name, mode_name, of_verdict, same, spoken, standing};
use crate::clock::rfc3339;
use crate::drill::outcome::{Check, Outcome, Verdict};

/// Text from anywhere, as text: no markup, no control characters.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c) => {
                out.push_str(&format!("\\u{{{:x}}}", c as u32));
            }
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "
:root{color-scheme:light dark;--fg:#1b1f24;--dim:#57606a;--bg:#fff;--line:#d0d7de;--good:#1a7f37;--bad:#b42318;--warn:#9a6700;--blue:#0969da;--soft:#f6f8fa}
@media (prefers-color-scheme:dark){:root{--fg:#e6edf3;--dim:#9198a1;--bg:#0d1117;--line:#3d444d;--good:#3fb950;--bad:#ff7b72;--warn:#d29922;--blue:#58a6ff;--soft:#151b23}}
*{box-sizing:border-box}body{margin:0 auto;max-width:62rem;padding:2.5rem 1.5rem;font:16px/1.55 system-ui,sans-serif;color:var(--fg);background:var(--bg)}
h1{font-size:1.7rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.4rem 0 .6rem;padding-bottom:.3rem;border-bottom:1px solid var(--line)}
.sub{color:var(--dim);margin:0 0 1.5rem}.head{display:flex;gap:2rem;align-items:center;flex-wrap:wrap}
.score{font-size:3rem;font-weight:650;line-height:1}.score small{display:block;font-size:.85rem;font-weight:400;color:var(--dim);margin-top:.4rem}
.bar{height:.5rem;border-radius:.25rem;background:var(--line);overflow:hidden;width:14rem;margin-top:.6rem}.bar i{display:block;height:100%;background:var(--good)}
table{border-collapse:collapse;width:100%;font-size:.92rem}th,td{text-align:left;vertical-align:top;padding:.4rem .7rem .4rem 0;border-bottom:1px solid var(--line)}th{font-weight:600;color:var(--dim)}
code{font:.88em ui-monospace,monospace;overflow-wrap:anywhere}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
ul{padding-left:1.2rem}li{margin:.35rem 0}.fault{color:var(--dim)}.missed li{margin:.7rem 0}
svg{width:100%;height:auto;display:block}svg text{fill:var(--fg);font:12px system-ui,sans-serif}svg .axis{fill:var(--dim);text-anchor:middle;font-size:11px}svg .name{fill:var(--dim)}
svg .lane{stroke:var(--line);stroke-width:2}svg .tick{stroke:var(--line);stroke-dasharray:2 4}svg .mark{stroke:var(--good);stroke-width:1.5}svg .flag{fill:var(--good);font-size:11.5px;font-weight:600}
svg circle{stroke:var(--bg);stroke-width:1.5}.attacker{fill:var(--bad)}.inject{fill:var(--warn)}.responder{fill:var(--blue)}.cluster{fill:var(--dim)}
.trend{width:16rem}.trend polyline{fill:none;stroke:var(--blue);stroke-width:2}
.sign{border:1px solid var(--line);background:var(--soft);padding:1rem;border-radius:.4rem}
@media print{body{max-width:none;padding:0}h2{break-after:avoid}tr,li{break-inside:avoid}}
";

fn row(cells: &[String]) -> String {
    format!("<tr>{}</tr>", cells.iter().map(|c| format!("<td>{c}</td>")).collect::<String>())
}

fn items(checks: &[&Check], each: impl Fn(&Check) -> String) -> String {
    checks.iter().map(|c| format!("<li>{}</li>", each(c))).collect()
}

/// The whole page; `earlier` are drills before it, of any name.
pub fn html(outcome: &Outcome, earlier: &[Outcome]) -> String {
    let score = outcome.score();
    let before = same(outcome, earlier);
    let mut scores: Vec<u32> = before.iter().map(|o| o.score().percent()).collect();
    scores.push(score.percent());
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}: after-action report</title><style>{STYLE}</style></head><body><h1>{0}</h1><p class=\"sub\">After-action report of drill <code>{1}</code> ({2}), {3} UTC, on {4}, {5}</p>",
        escaped(&outcome.title),
        escaped(&outcome.drill),
        escaped(&outcome.level),
        rfc3339(outcome.began),
        escaped(&outcome.cluster),
        mode_name(outcome.mode)
    );
    out.push_str(&format!(
        "<div class=\"head\"><div><div class=\"score\">{0} %<small>{1} of {2} points</small></div><div class=\"bar\"><i style=\"width:{0}%\"></i></div></div>{3}</div>",
        score.percent(),
        f64::from(score.half_points) / 2.0,
        score.of,
        trend(&scores)
    ));
    out.push_str("<h2>Times</h2><table><thead><tr><th>Milestone</th><th>After</th><th>Target</th><th></th><th>Shown by</th></tr></thead><tbody>");
    for time in &outcome.times {
        let class = match standing(time) {
            "within the target" => "good",
            "no target set" => "",
            _ => "bad",
        };
        out.push_str(&row(&[
            milestone_name(time.name).into(),
            time.after_ms.map_or("never".into(), spoken),
            time.target_ms.map_or("none".into(), spoken),
            format!("<span class=\"{class}\">{}</span>", standing(time)),
            escaped(&time.by),
        ]));
    }
    out.push_str("</tbody></table><h2>Timeline</h2>");
    out.push_str(&svg(outcome));
    let failed = of_verdict(outcome, Verdict::Failed);
    out.push_str("<h2>What was missed, and why it matters</h2>");
    if failed.is_empty() {
        out.push_str("<p>Nothing that was checked.</p>");
    } else {
        out.push_str(&format!(
            "<ul class=\"missed\">{}</ul>",
            items(&failed, |c| {
                let fault = c
                    .fault
                    .as_ref()
                    .map(|f| format!("<div class=\"fault\">At fault: {}</div>", escaped(f)))
                    .unwrap_or_default();
                format!(
                    "<strong class=\"bad\">{}</strong>: {}. {}.{fault}",
                    escaped(&c.what),
                    escaped(&c.found),
                    escaped(&c.why)
                )
            })
        ));
        out.push_str(&format!(
            "<h2>To improve</h2><ul>{}</ul>",
            items(&failed, |c| format!("&#9744; {}", escaped(&improvement(c))))
        ));
    }
    out.push_str("<h2>What went well</h2><table><tbody>");
    for check in of_verdict(outcome, Verdict::Passed) {
        out.push_str(&row(&[
            format!("<span class=\"good\">{}</span>", area_name(check.area)),
            escaped(&check.what),
            escaped(&check.found),
        ]));
    }
    out.push_str("</tbody></table>");
    let unmeasured = of_verdict(outcome, Verdict::NotMeasured);
    if !unmeasured.is_empty() {
        out.push_str(&format!(
            "<h2>What was not measured</h2><ul>{}</ul>",
            items(&unmeasured, |c| format!("<span class=\"warn\">{}</span>: {}", escaped(&c.what), escaped(&c.found)))
        ));
    }
    out.push_str("<h2>Every moment</h2><table><thead><tr><th>After</th><th>Who</th><th>What</th></tr></thead><tbody>");
    for moment in &outcome.timeline {
        out.push_str(&row(&[
            spoken(moment.after_ms),
            format!("{:?}", moment.who).to_lowercase(),
            escaped(&moment.text),
        ]));
    }
    out.push_str("</tbody></table>");
    people(outcome, &mut out);
    record(outcome, &before, &mut out);
    out.push_str("</body></html>\n");
    out
}

/// Discussion and notes.
fn people(outcome: &Outcome, out: &mut String) {
    if !outcome.answers.is_empty() {
        out.push_str("<h2>Discussion</h2><table><thead><tr><th>Question</th><th>Answer</th><th>A good answer names</th></tr></thead><tbody>");
        for answer in &outcome.answers {
            out.push_str(&row(&[
                escaped(&answer.question),
                answer.answer.as_deref().map_or("not asked or not answered".into(), escaped),
                escaped(&answer.expected.join("; ")),
            ]));
        }
        out.push_str("</tbody></table>");
    }
    if !outcome.notes.is_empty() {
        out.push_str("<h2>Notes</h2><table><tbody>");
        for note in &outcome.notes {
            out.push_str(&row(&[rfc3339(note.at), escaped(&note.who), escaped(&note.text)]));
        }
        out.push_str("</tbody></table>");
    }
}

/// Hashes, comparison, the score's rule, the signature.
fn record(outcome: &Outcome, before: &[&Outcome], out: &mut String) {
    let bundle = match &outcome.bundle {
        Some(b) => format!(
            "<code>{}</code> {}, SHA-256 <code>{}</code>",
            escaped(&b.file),
            if b.verified { "verifies" } else { "<strong class=\"bad\">does not verify</strong>" },
            escaped(&b.sha256)
        ),
        None => "none was sealed".into(),
    };
    let compared = match before.last() {
        None => "the first of its name".to_string(),
        Some(last) => {
            format!("{} before; the last, {}, scored {} %", before.len(), rfc3339(last.began), last.score().percent())
        }
    };
    let who = if outcome.participants.is_empty() {
        "nobody at the keyboard".to_string()
    } else {
        outcome.participants.join(", ")
    };
    out.push_str("<h2>Record</h2><table><tbody>");
    for (name, value) in [
        ("Who", escaped(&who)),
        (
            "Runbook",
            format!("{}, SHA-256 <code>{}</code>", escaped(&outcome.runbook), escaped(&outcome.runbook_sha256)),
        ),
        ("Scenario", format!("SHA-256 <code>{}</code>, seed {}", escaped(&outcome.scenario_sha256), outcome.seed)),
        ("Incident", format!("<code>{}</code>", escaped(&outcome.incident))),
        ("Bundle", bundle),
        ("Ended", rfc3339(outcome.ended)),
        ("Earlier drills", compared),
        ("Tool", escaped(&outcome.tool)),
    ] {
        out.push_str(&row(&[name.into(), value]));
    }
    let signed = match &outcome.sign_off {
        Some(sign) => {
            format!("Signed by <strong>{}</strong> ({}), {}", escaped(&sign.who), escaped(&sign.role), rfc3339(sign.at))
        }
        None => "Not signed off yet.".into(),
    };
    out.push_str(&format!(
        "</tbody></table><h2>How the score is computed</h2><p>{HOW}</p><h2>Sign-off</h2><p class=\"sign\">{signed}</p>"
    ));
}
