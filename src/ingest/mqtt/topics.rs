//! Which topics are whose.

use std::sync::Arc;

use crate::model::DeviceId;
use crate::pipeline::{Listed, Station};
use crate::profile::{Profile, Source, TopicTemplate};

/// What a device publishes to one of its own topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ingest) enum OwnTopic {
    /// Readings.
    Telemetry,
    /// Whether it is there: kept, and set by its last will.
    Status,
    /// Answers to commands.
    Replies,
}

/// Which of its own topics `topic` is; `None` for every other.
pub(in crate::ingest) fn own(station: &Station, topic: &str) -> Option<OwnTopic> {
    let device = &station.device.id;
    if matches!(station.profile.source, Source::Modbus(_)) {
        return None;
    }
    match level_of(device, topic) {
        Some("telemetry") => Some(OwnTopic::Telemetry),
        Some("status") => Some(OwnTopic::Status),
        Some("replies") => Some(OwnTopic::Replies),
        _ => templates(&station.profile)
            .iter()
            .any(|template| template.matches(topic, device))
            .then_some(OwnTopic::Telemetry),
    }
}

/// The listed device that a gateway's topic names, by its id or its address, and what is published to it. Where a topic of
/// its devices names the gateway itself (a Sparkplug edge node, whose units stand behind it), it is the gateway's own.
pub(in crate::ingest) fn listed<'a>(
    gateway: &'a Arc<Station>,
    listed: &'a Listed,
    topic: &str,
) -> Option<(&'a Arc<Station>, OwnTopic)> {
    if let Some((name, level)) = topic.strip_prefix("devices/").and_then(|t| t.split_once('/')) {
        let own = match level {
            "telemetry" => Some(OwnTopic::Telemetry),
            "status" => Some(OwnTopic::Status),
            "replies" => Some(OwnTopic::Replies),
            _ => None,
        };
        if let (Some(station), Some(own)) = (listed.get(name), own) {
            return Some((station, own));
        }
    }
    let found = listed.profiles().iter().find_map(|profile| {
        let names = templates(profile).iter().filter_map(|template| template.device_in(topic));
        let station = names.filter_map(|name| listed.get(name)).next()?;
        Arc::ptr_eq(&station.profile, profile).then_some((station, OwnTopic::Telemetry))
    });
    found.or_else(|| {
        let name = unlisted(listed, topic)?;
        gateway.is_called(name).then_some((gateway, OwnTopic::Telemetry))
    })
}

/// The device that a gateway's topic names, which it may not publish for, in a place where its listed devices stand.
pub(super) fn unlisted<'t>(listed: &Listed, topic: &'t str) -> Option<&'t str> {
    let mut templates = listed.profiles().iter().flat_map(|profile| templates(profile));
    templates.find_map(|template| template.device_in(topic))
}

/// Whether a topic is one in which a LoRaWAN network tells of other things than uplinks: joins, states of a radio gateway,
/// acknowledgements. It publishes them all or none, so they are let through.
pub(super) fn is_network_event(listed: &Listed, topic: &str) -> bool {
    listed.profiles().iter().any(|profile| profile.lorawan().is_some()) && is_event(topic)
}

/// The same, whoever's network it is.
pub(in crate::ingest) fn is_event(topic: &str) -> bool {
    const EVENTS: [&str; 2] = ["application/+/device/+/event/+", "v3/+/devices/+/#"];
    EVENTS.iter().any(|filter| matches(filter, topic))
}

/// The listed device whose commands `filter` asks for.
pub(super) fn listed_commands<'a>(listed: &'a Listed, filter: &str) -> Option<&'a Arc<Station>> {
    let (name, level) = filter.strip_prefix("devices/")?.split_once('/')?;
    listed.get(name).filter(|_| level == "commands")
}

/// Where devices of this profile publish besides their own topics.
pub(in crate::ingest) fn templates(profile: &Profile) -> &[TopicTemplate] {
    match &profile.source {
        Source::Mqtt(source) => source.topic.as_slice(),
        Source::Lorawan(source) => &source.topics,
        Source::Modbus(_) => &[],
    }
}

/// Whether `filter` asks for the device's own commands: all that a device may subscribe to.
pub(super) fn is_own_commands(device: &DeviceId, filter: &str) -> bool {
    level_of(device, filter) == Some("commands")
}

/// The last level of `devices/{device}/...`.
fn level_of<'a>(device: &DeviceId, topic: &'a str) -> Option<&'a str> {
    topic.strip_prefix("devices/")?.strip_prefix(device.as_str())?.strip_prefix('/')
}

/// Whether `filter`, with its wildcards, takes in `topic` (MQTT 5, section 4.7).
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    covers_levels(filter, topic, |_| false)
}

/// Whether everything that `wanted` could match is also matched by `granted`.
pub(super) fn covers(granted: &str, wanted: &str) -> bool {
    covers_levels(granted, wanted, |level| level == "#")
}

fn covers_levels(filter: &str, other: &str, is_wider: fn(&str) -> bool) -> bool {
    // A wildcard at the root does not match topics that begin with $ [MQTT-4.7.2-1].
    if other.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let mut others = other.split('/');
    for level in filter.split('/') {
        match (level, others.next()) {
            ("#", _) => return true,
            ("+", Some(level)) if !is_wider(level) => {}
            (level, Some(other)) if level == other => {}
            _ => return false,
        }
    }
    others.next().is_none()
}

/// Whether a filter is one: wildcards alone in their level, `#` only at the end [MQTT-4.7.1-1, -2, -3].
pub(in crate::ingest) fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    if filter.is_empty() || filter.contains('\0') {
        return false;
    }
    while let Some(level) = levels.next() {
        let is_wildcard = level == "+" || (level == "#" && levels.peek().is_none());
        if !is_wildcard && level.contains(['+', '#']) {
            return false;
        }
    }
    true
}

/// Whether a topic is one that can be published to: not empty, no wildcard, no NUL [MQTT-3.3.2-2, MQTT-4.7.3-1, -2].
pub(in crate::ingest) fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}

/// The name of a shared subscription, if `filter` is one, and the filter behind it (MQTT 5, section 4.8.2).
pub(super) fn share(filter: &str) -> (Option<&str>, &str) {
    match filter.strip_prefix("$share/") {
        Some(rest) => {
            let (name, filter) = rest.split_once('/').unwrap_or((rest, ""));
            (Some(name), filter)
        }
        None => (None, filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_matches_as_the_standard_says() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn a_grant_covers_what_is_narrower() {
        for (granted, wanted, expected) in [
            ("devices/#", "devices/+/telemetry", true),
            ("devices/+/telemetry", "devices/+/telemetry", true),
            ("devices/+/telemetry", "devices/#", false),
            ("devices/+", "devices/#", false),
            ("devices/a", "devices/+", false),
            ("#", "#", true),
        ] {
            assert_eq!(covers(granted, wanted), expected, "{granted} {wanted}");
        }
    }

    #[test]
    fn what_is_no_filter_or_topic_is_known() {
        assert!(["a/+/b", "#", "+", "a/#"].into_iter().all(is_filter));
        assert!(!["", "a/#/b", "a+", "a/b#", "a\0"].into_iter().any(is_filter));
        assert!(is_topic("a/b") && !is_topic("") && !is_topic("a/+") && is_topic("井/1"));
        assert_eq!(share("$share/g/a/#"), (Some("g"), "a/#"));
        assert_eq!(share("a/b"), (None, "a/b"));
        assert_eq!(share("$share/g"), (Some("g"), ""), "which is no filter");
    }

    #[test]
    fn a_device_hears_its_own_commands_only() {
        let device: DeviceId = "mh-1".parse().expect("an id");
        assert!(is_own_commands(&device, "devices/mh-1/commands"));
        for other in
            ["devices/mh-10/commands", "devices/+/commands", "#", "devices/mh-1/commands/x"]
        {
            assert!(!is_own_commands(&device, other), "{other}");
        }
    }
}
