use super::*;
use crate::drill::outcome::*;

fn sample() -> Outcome {
    let at = time::macros::datetime!(2026-11-23 03:12:45 UTC);
    Outcome {
        format: FORMAT,
        drill: "pod-compromise".into(),
        title: "A <script>alert(1)</script> | miner".into(),
        runbook: "pod-compromise".into(),
        runbook_sha256: "ab".repeat(32),
        scenario_sha256: "cd".repeat(32),
        level: "basic".into(),
        seed: 1,
        cluster: "embedded".into(),
        mode: Mode::Auto,
        began: at,
        ended: at + time::Duration::seconds(90),
        participants: Vec::new(),
        incident: "20261123t031245z-pod-compromise-4f2a".into(),
        bundle: Some(BundleRef { file: "b.tar".into(), sha256: "ef".repeat(32), verified: true }),
        times: vec![
            Milestone {
                name: MilestoneName::Contain,
                after_ms: Some(2_000),
                target_ms: Some(1_000),
                by: "policy".into(),
            },
            Milestone { name: MilestoneName::Eradicate, after_ms: None, target_ms: Some(1_000), by: "never".into() },
        ],
        checks: vec![
            Check {
                id: "a".into(),
                area: Area::Evidence,
                verdict: Verdict::Passed,
                weight: 4,
                what: "taken".into(),
                found: "yes".into(),
                why: "w".into(),
                fault: None,
            },
            Check {
                id: "b".into(),
                area: Area::Order,
                verdict: Verdict::Failed,
                weight: 6,
                what: "before".into(),
                found: "after".into(),
                why: "it is gone".into(),
                fault: Some("step \u{1b}[31mterminate".into()),
            },
            Check {
                id: "c".into(),
                area: Area::Decision,
                verdict: Verdict::NotMeasured,
                weight: 9,
                what: "asked".into(),
                found: "nobody".into(),
                why: "w".into(),
                fault: None,
            },
        ],
        timeline: vec![Moment { at, after_ms: 0, who: Who::Attacker, text: "drops *files*\nhere".into(), step: None }],
        notes: Vec::new(),
        answers: vec![Answer { question: "who?".into(), expected: vec!["the lead".into()], answer: None }],
        sign_off: None,
        tool: "quell 0.1.0".into(),
    }
}

#[test]
fn the_score_counts_what_was_measured_and_half_for_late() {
    let score = sample().score();
    // 4 of 4, 0 of 6, half of 5, 0 of 5.
    assert_eq!((score.half_points, score.of, score.percent()), (13, 20, 32));
    assert!(!sample().passed());
}

#[test]
fn nothing_of_an_outcome_is_markup() {
    let page = html(&sample(), &[sample()]);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    assert!(!page.contains('\u{1b}') && page.contains("\\u{1b}"));
    assert!(!page.contains("http://") && !page.contains("https://"), "the page asks nobody for anything");
    let text = markdown(&sample(), &[]);
    assert!(text.contains("\\<script\\>") && text.contains("drops \\*files\\* here") && !text.contains('\u{1b}'));
    assert!(
        text.contains("- [ ] before: found after")
            && text.contains("first of its name")
            && text.contains("Not signed off")
    );
}

#[test]
fn the_golden_outcome_reads_and_writes_the_same() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1/outcome.json");
    let text = serde_json::to_string_pretty(&sample()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(golden, text);
    assert_eq!(serde_json::from_str::<Outcome>(&golden).unwrap(), sample());
    let newer = golden.replacen("{\n", "{\n  \"more\": 1,\n", 1);
    assert_eq!(serde_json::from_str::<Outcome>(&newer).unwrap(), sample(), "newer fields are ignored");
}

#[test]
fn history_compares_with_the_same_drill() {
    let mut better = sample();
    better.checks.truncate(1);
    better.began += time::Duration::days(1);
    let text = history(&[sample(), better]);
    assert!(
        text.lines().nth(1).is_some_and(|l| l.contains(" 32 %  "))
            && text.lines().nth(2).is_some_and(|l| l.contains('↑')),
        "{text}"
    );
    assert!(text.lines().nth(1).is_some_and(|l| l.ends_with("  b")));
}
