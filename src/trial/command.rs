//! Fixtures of commands: judged by the command room's own check, and encoded as it does.

use super::{RECEIVED_AT, lorawan};
use crate::command::{Refusal, Situation};
use crate::model::{Quality, Sample};
use crate::profile::command::Outgoing;
use crate::profile::{Given, Profile, RegisterWrite, Sent};

/// The id that stands in a fixture's JSON document.
const ID: u64 = 1;

/// What came out otherwise than it should.
pub(super) fn run(profile: &Profile, given: &Given) -> Vec<String> {
    let Some(spec) = profile.commands.get(given.command) else {
        return vec!["the profile has no such command".to_owned()];
    };
    let sample = |value| Sample {
        observed_at: RECEIVED_AT,
        received_at: RECEIVED_AT,
        value,
        quality: Quality::GOOD,
    };
    let value = |wanted| given.values.iter().find(|(point, _)| *point == wanted);
    let situation = Situation {
        profile,
        spec,
        target: given.target,
        now: RECEIVED_AT,
        values: &|point| value(point).map(|(_, value)| sample(*value)),
        site: &|_| None,
        has_critical: false,
    };
    match (situation.check(), &given.refused) {
        (Err(refusal), Some(words)) => compare_refusal(&refusal, words),
        (Err(refusal), None) => vec![format!("refused ({}): {refusal}", refusal.rule)],
        (Ok(_), Some(words)) => vec![format!("expected a refusal by `{words}`, but it is sent")],
        (Ok(permission), None) => {
            let mut failures = Vec::new();
            let found = permission.second_person.is_some();
            if let Some(expected) = given.second_person.filter(|expected| *expected != found) {
                failures.push(format!("two_person: expected {expected}, found {found}"));
            }
            if let Some(expected) = &given.sent {
                failures.extend(compare_sent(profile, spec.outgoing(ID, given.target), expected));
            }
            failures
        }
    }
}

fn compare_refusal(refusal: &Refusal, words: &str) -> Vec<String> {
    if refusal.rule == words || refusal.cause.as_str() == words {
        return Vec::new();
    }
    let found = format!("by `{}` ({}): {refusal}", refusal.rule, refusal.cause);
    vec![format!("expected a refusal by `{words}`, found one {found}")]
}

fn compare_sent(profile: &Profile, found: Option<Outgoing>, expected: &Sent) -> Option<String> {
    match (found, expected) {
        (Some(Outgoing::Writes(found)), Sent::Writes(expected)) if found != *expected => {
            Some(format!("writes: expected {}, found {}", show_all(expected), show_all(&found)))
        }
        (Some(Outgoing::Message(found)), Sent::Payload(expected)) => {
            let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
            let is_same = found == *expected
                || json(&found).is_some_and(|document| json(expected) == Some(document));
            let [found, expected] = [&found, expected].map(|bytes| show_bytes(bytes));
            (!is_same).then(|| format!("downlink: expected {expected}, found {found}"))
        }
        (Some(Outgoing::Writes(_)), Sent::Writes(_)) => None,
        (Some(Outgoing::Lorawan { port, data }), Sent::Lorawan { port: wanted, bytes }) => {
            let source = profile.lorawan()?;
            match lorawan::encode(source, port, &data) {
                Ok(found) if found == (*wanted, bytes.clone()) => None,
                Ok((port, found)) => {
                    let [found, bytes] = [&found, bytes].map(|bytes| show_bytes(bytes));
                    Some(format!(
                        "downlink: expected {bytes} on port {wanted}, found {found} on port {port}"
                    ))
                }
                Err(error) => Some(format!("downlink: the codec cannot encode it: {error}")),
            }
        }
        (None, _) => Some("the target does not fit what is written".to_owned()),
        _ => Some("the command goes out in another way".to_owned()),
    }
}

fn show_all(writes: &[RegisterWrite]) -> String {
    let show = |write: &RegisterWrite| {
        format!("{} {} = {:?}", write.table.as_str(), write.address, write.values)
    };
    writes.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn show_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("hex:{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}
