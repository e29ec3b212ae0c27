//! Rights that had to go, and rights that had to stay: by the API server's own word, before and after.

use serde_json::Value;

use super::{Facts, check};
use crate::drill::outcome::{Area, Check};
use crate::drill::scenario::Right;

pub(super) fn rights(facts: &Facts<'_>) -> Vec<Check> {
    let expect = &facts.scenario.expect;
    let told = |right: &Right| {
        let name = right.to_string();
        facts.objects.iter().find(|(known, _, _)| *known == name).map(|(_, before, after)| (before, after))
    };
    let found = |is: Option<(&Value, &Value)>| match is {
        Some((before, after)) => format!("{before} before, {after} after"),
        None => "it was not asked".into(),
    };
    let taken = expect.denied.iter().enumerate().map(|(i, right)| {
        let is = told(right);
        check(
            &format!("containment.denied.{}", i + 1),
            Area::Containment,
            6,
            &format!("no more: {right}"),
            is.is_some_and(|(before, after)| before == true && after == false),
            found(is),
            "until then whoever holds the credential goes on",
            Some(format!("{right}, still")),
        )
    });
    let left = expect.allowed.iter().enumerate().map(|(i, right)| {
        let is = told(right);
        check(
            &format!("collateral.allowed.{}", i + 1),
            Area::Collateral,
            4,
            &format!("as before: {right}"),
            is.is_some_and(|(before, after)| before == true && after == true),
            found(is),
            "an answer that takes the rights of others is an outage of one's own making",
            Some(format!("{right}, no more")),
        )
    });
    taken.chain(left).collect()
}
