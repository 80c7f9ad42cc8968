//! Whose a topic is, on a broker where the sender is not seen.
//!
//! The broker has checked who may publish where; the hub knows its devices. So the topic says whose the message is, by the
//! same rules as at the door: a device's own topics, and those in which gateways speak for listed devices.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::ingest::mqtt::Refusal;
use crate::ingest::mqtt::topics::{self, OwnTopic};
use crate::link::Filter;
use crate::pipeline::{Station, StationTable};
use crate::profile::Profile;

/// Topics whose routes are remembered: beyond it the memory starts anew, which costs a search for each.
const REMEMBERED: usize = 65_536;

/// Where a message goes.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// To a device.
    Station {
        /// Whose the topic is.
        addressee: Arc<Station>,
        /// Who speaks for it; itself, when it stands behind nobody.
        gateway: Arc<Station>,
        /// What is published there.
        own: OwnTopic,
    },
    /// What a LoRaWAN network says besides uplinks.
    Aside,
    /// To nobody.
    Refused(Refusal),
}

/// Remembers whose a topic is, for one table of stations.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Of the table. Tables' versions begin at 1.
    version: u64,
    known: HashMap<Box<str>, Route>,
}

impl Routes {
    /// Where a message on `topic` goes, and whether that had to be looked up.
    pub(super) fn find(&mut self, stations: &StationTable, topic: &str) -> (Route, bool) {
        if self.version != stations.version || self.known.len() >= REMEMBERED {
            self.version = stations.version;
            self.known.clear();
        }
        if let Some(route) = self.known.get(topic) {
            return (route.clone(), false);
        }
        let route = look_up(stations, topic);
        self.known.insert(topic.into(), route.clone());
        (route, true)
    }
}

fn look_up(stations: &StationTable, topic: &str) -> Route {
    if !topics::is_topic(topic) {
        return Route::Refused(Refusal::BadTopic);
    }
    if let Some((station, own)) = by_id(stations, topic) {
        return to(stations, station, own);
    }
    let mut found: Vec<(&Arc<Station>, OwnTopic)> = Vec::new();
    for (gateway, listed) in stations.gateways() {
        if let Some((station, own)) = topics::listed(gateway, listed, topic)
            && !found.iter().any(|(known, _)| Arc::ptr_eq(known, station))
        {
            found.push((station, own));
        }
    }
    match found.as_slice() {
        [(station, own)] => to(stations, station, *own),
        [_, _, ..] => Route::Refused(Refusal::AmbiguousDevice(topic.to_owned())),
        [] if is_aside(stations, topic) => Route::Aside,
        [] => Route::Refused(Refusal::UnknownDevice(topic.to_owned())),
    }
}

/// The device whose id the topic holds, where its own topics have it.
fn by_id<'a>(stations: &'a StationTable, topic: &str) -> Option<(&'a Arc<Station>, OwnTopic)> {
    let usual = topic.strip_prefix("devices/").and_then(|rest| rest.split('/').next());
    let named = profiles(stations);
    let templates = named.iter().flat_map(|profile| topics::templates(profile));
    let mut names = usual.into_iter().chain(templates.filter_map(|t| t.device_in(topic)));
    names.find_map(|name| {
        let station = stations.get(name)?;
        Some((station, topics::own(station, topic)?))
    })
}

fn to(stations: &StationTable, station: &Arc<Station>, own: OwnTopic) -> Route {
    let is_gateway = stations.behind(&station.device.id).is_some();
    let gateway = station.device.gateway.as_ref().filter(|_| !is_gateway);
    let gateway = gateway.and_then(|id| stations.get(id.as_str())).unwrap_or(station);
    Route::Station { addressee: Arc::clone(station), gateway: Arc::clone(gateway), own }
}

fn is_aside(stations: &StationTable, topic: &str) -> bool {
    topics::is_event(topic) && stations.iter().any(|station| station.profile.lorawan().is_some())
}

/// Every profile in use, once.
fn profiles(stations: &StationTable) -> Vec<&Arc<Profile>> {
    let mut profiles: Vec<&Arc<Profile>> =
        stations.iter().map(|station| &station.profile).collect();
    profiles.sort_by(|a, b| a.id.cmp(&b.id));
    profiles.dedup_by(|a, b| Arc::ptr_eq(a, b));
    profiles
}

/// What to subscribe to. Telemetry is shared with the other hubs of the group; what devices say of themselves and their
/// answers to commands go to every hub, because each may have given the command.
pub(super) fn filters(
    stations: &StationTable,
    share: Option<&str>,
    configured: &[String],
) -> Vec<Filter> {
    let telemetry: BTreeSet<String> = if configured.is_empty() {
        let named = profiles(stations);
        let templates = named.iter().flat_map(|profile| topics::templates(profile));
        let usual = std::iter::once("devices/+/telemetry".to_owned());
        usual.chain(templates.map(|template| template.filter())).collect()
    } else {
        configured.iter().cloned().collect()
    };
    let shared = telemetry.into_iter().map(|path| Filter {
        path: match share {
            Some(group) => format!("$share/{group}/{path}"),
            None => path,
        },
        wants_retained: false,
    });
    let own = [("devices/+/status", true), ("devices/+/replies", false)];
    let own = own.map(|(path, wants_retained)| Filter { path: path.to_owned(), wants_retained });
    shared.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Label;
    use crate::profile::{ProfileSet, read_text};
    use crate::registry::{Device, Town};
    use crate::store::EmbeddedStore;

    fn profile(id: &str, topic: &str) -> Arc<Profile> {
        let text = format!(
            "profile = 1\nid = \"{id}\"\nname = \"{id}\"\nmanufacturer = \"m\"\nmodel = \"m\"\nkind = \"manhole\"\n\
             [source.mqtt]\npayload = \"json\"\n{topic}\n[points.level]\nlabel = \"l\"\nunit = \"m\"\n\
             read = {{ path = \"/l\" }}\nrange = [0, 100]\n"
        );
        Arc::new(read_text("test.toml", &text).expect("a profile").profile)
    }

    fn device(id: &str, profile: &str, gateway: Option<&str>, address: Option<&str>) -> Device {
        Device {
            id: id.parse().expect("an id"),
            name: Label::same(id),
            profile: profile.parse().expect("an id"),
            asset: None,
            modbus: None,
            gateway: gateway.map(|id| id.parse().expect("an id")),
            address: address.map(|text| text.parse().expect("an address")),
        }
    }

    /// `gw-1` with `a` (called `x`) and `b` (called `7`), `gw-2` with `c` (called `7` too), and `solo`.
    fn table() -> StationTable {
        let folder = tempfile::tempdir().expect("a folder");
        let store = EmbeddedStore::open(&folder.path().join("readings.db")).expect("a store");
        let mut profiles = ProfileSet::default();
        for profile in
            [profile("plain", ""), profile("site", "topic = \"sewer/{site}/{device}/{part?}\"")]
        {
            profiles.profiles.insert(profile.id.clone(), profile);
        }
        let devices = [
            device("gw-1", "plain", None, None),
            device("gw-2", "plain", None, None),
            device("a", "site", Some("gw-1"), Some("x")),
            device("b", "site", Some("gw-1"), Some("7")),
            device("c", "site", Some("gw-2"), Some("7")),
            device("solo", "site", None, None),
        ];
        let town = Town::new(1, devices, [], []);
        let none = StationTable::default();
        StationTable::build(&town, &profiles, &store, &|_| None, &none).expect("a table")
    }

    #[test]
    fn the_topic_says_whose_a_message_is() {
        let (stations, mut routes) = (table(), Routes::default());
        let mut check = |topic: &str, expected: &str| {
            let found = match routes.find(&stations, topic).0 {
                Route::Station { addressee, gateway, own } => {
                    format!("{own:?} {} by {}", addressee.device.id, gateway.device.id)
                }
                Route::Aside => "aside".to_owned(),
                Route::Refused(refusal) => refusal.as_str().to_owned(),
            };
            assert_eq!(found, expected, "{topic}");
        };
        check("devices/solo/telemetry", "Telemetry solo by solo");
        check("devices/solo/status", "Status solo by solo");
        check("devices/gw-1/telemetry", "Telemetry gw-1 by gw-1");
        check("devices/a/replies", "Replies a by gw-1");
        check("devices/x/telemetry", "Telemetry a by gw-1");
        check("sewer/east/solo", "Telemetry solo by solo");
        check("sewer/east/x/up", "Telemetry a by gw-1");
        check("sewer/east/7", "ambiguous_device");
        check("sewer/east/b", "Telemetry b by gw-1");
        check("devices/nobody/telemetry", "unknown_device");
        check("devices/solo/commands", "unknown_device");
        check("application/1/device/2/event/join", "unknown_device");
        check("井/1", "unknown_device");
        check("well/+", "bad_topic");
    }

    #[test]
    fn telemetry_is_shared_and_answers_go_to_every_hub() {
        let paths = |share, configured: &[String]| -> Vec<String> {
            filters(&table(), share, configured).into_iter().map(|filter| filter.path).collect()
        };
        let own = ["devices/+/status", "devices/+/replies"];
        assert_eq!(paths(None, &[]), [&["devices/+/telemetry", "sewer/+/+/#"], &own[..]].concat());
        let configured = ["plant/#".to_owned()];
        assert_eq!(paths(Some("g"), &configured), [&["$share/g/plant/#"], &own[..]].concat());
    }
}
