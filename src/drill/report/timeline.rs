//! The timeline as a picture: lanes, moments, milestones, an axis. No script, no font, no request.

use super::html::escaped;
use super::{milestone_name, spoken};
use crate::drill::outcome::{Outcome, Who};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 110.0;
const LANE: f64 = 46.0;
const TOP: f64 = 64.0;

/// The lanes from above: who, name.
const LANES: [(&[Who], &str); 3] =
    [(&[Who::Attacker, Who::Inject], "attack"), (&[Who::Responder], "response"), (&[Who::Cluster], "cluster")];

/// An SVG of the drill's moments.
pub fn svg(outcome: &Outcome) -> String {
    let last = outcome
        .timeline
        .iter()
        .map(|m| m.after_ms)
        .chain(outcome.times.iter().filter_map(|t| t.after_ms))
        .max()
        .unwrap_or(0)
        .max(1);
    // Moments are whole milliseconds, far below 2^52.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a drill are far below 2^52")]
    let x = |ms: u64| LEFT + (WIDTH - LEFT - 30.0) * (ms as f64) / (last as f64);
    let lanes: f64 = 3.0;
    let bottom = TOP + LANE * lanes;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-labelledby=\"tl-t tl-d\"><title id=\"tl-t\">Timeline</title><desc id=\"tl-d\">{} moments in {}; the table below lists them all.</desc>",
        bottom + 34.0,
        outcome.timeline.len(),
        spoken(last)
    );
    for (n, (_, name)) in (0_u8..).zip(LANES) {
        let y = TOP + LANE * (f64::from(n) + 0.5);
        out.push_str(&format!("<line class=\"lane\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/><text class=\"name\" x=\"0\" y=\"{}\">{name}</text>", WIDTH - 30.0, y + 4.0));
    }
    for tick in 0..=5_u64 {
        let ms = last * tick / 5;
        out.push_str(&format!(
            "<line class=\"tick\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/><text class=\"axis\" x=\"{0:.1}\" y=\"{1}\">{2}</text>",
            x(ms),
            bottom + 20.0,
            spoken(ms)
        ));
    }
    for (n, (who, _)) in (0_u8..).zip(LANES) {
        let y = TOP + LANE * (f64::from(n) + 0.5);
        for moment in outcome.timeline.iter().filter(|m| who.contains(&m.who)) {
            let class = format!("{:?}", moment.who).to_lowercase();
            out.push_str(&format!(
                "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{y}\" r=\"6\"><title>{} {}</title></circle>",
                x(moment.after_ms),
                spoken(moment.after_ms),
                escaped(&moment.text)
            ));
        }
    }
    // Milestones: flags above the lanes, a row further up where two would touch.
    let mut ends = [0.0_f64; 3];
    let mut times: Vec<_> = outcome.times.iter().filter_map(|t| t.after_ms.map(|ms| (ms, t.name))).collect();
    times.sort_by_key(|(ms, _)| *ms);
    for (ms, name) in times {
        let label = format!("{} {}", milestone_name(name), spoken(ms));
        #[expect(clippy::cast_precision_loss, reason = "a label has few characters")]
        let width = label.len() as f64 * 6.6 + 10.0;
        let at = x(ms);
        let start = (at + 4.0).min(WIDTH - width);
        let row = ends.iter().position(|end| *end < start).unwrap_or(2);
        if let Some(end) = ends.get_mut(row) {
            *end = start + width;
        }
        let y = 50.0 - 18.0 * f64::from(u8::try_from(row).unwrap_or(0));
        out.push_str(&format!("<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{}\" y2=\"{bottom}\"/><text class=\"flag\" x=\"{start:.1}\" y=\"{y}\">{label}</text>", y - 10.0));
    }
    out.push_str("</svg>");
    out
}

/// Earlier scores and this one, as a line.
pub fn trend(scores: &[u32]) -> String {
    if scores.len() < 2 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "there are few drills")]
    let step = 240.0 / (scores.len() - 1) as f64;
    let mut points = String::new();
    let mut at = 10.0;
    for score in scores {
        points.push_str(&format!("{at:.1},{:.1} ", 70.0 - f64::from(*score) * 0.6));
        at += step;
    }
    let words: Vec<String> = scores.iter().map(|s| format!("{s} %")).collect();
    format!(
        "<svg class=\"trend\" viewBox=\"0 0 260 80\" role=\"img\"><title>Scores so far: {}</title><polyline points=\"{}\"/></svg>",
        words.join(", "),
        points.trim_end()
    )
}
