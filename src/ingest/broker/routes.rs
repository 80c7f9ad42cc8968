//! Whose a topic is, on a broker where the sender is not seen.
//!
//! The broker has checked who may publish where; the hub knows its devices. So the topic says whose the message is, by the
//! same rules as at the door: a device's own topics, and those in which gateways speak for listed devices.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::ingest::mqtt::Refusal;
use crate::ingest::mqtt::topics::{self, OwnTopic};
use crate::link::Filter;
use crate::pipeline::{Station, StationTable};
use crate::profile::{Profile, TopicTemplate};

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
    named: Named,
}

/// What the profiles of a table say of topics. Gathered once for a table: a look at every station for each new topic would
/// cost a town of ten thousand devices a hundred million looks when it starts.
#[derive(Debug, Default)]
struct Named {
    /// Every profile in use that names topics, once.
    profiles: Vec<Arc<Profile>>,
    has_lorawan: bool,
}

impl Named {
    fn of(stations: &StationTable) -> Self {
        let mut named = Named::default();
        let mut seen: HashSet<*const Profile> = HashSet::new();
        for profile in stations.iter().map(|station| &station.profile) {
            if seen.insert(Arc::as_ptr(profile)) && !topics::templates(profile).is_empty() {
                named.profiles.push(Arc::clone(profile));
            }
            named.has_lorawan |= profile.lorawan().is_some();
        }
        // In an order of their own: which device a topic names must not depend on who else is in the table.
        named.profiles.sort_by(|a, b| a.id.cmp(&b.id));
        named
    }

    fn templates(&self) -> impl Iterator<Item = &TopicTemplate> {
        self.profiles.iter().flat_map(|profile| topics::templates(profile))
    }
}

impl Routes {
    /// Where a message on `topic` goes, and whether that had to be looked up.
    pub(super) fn find(&mut self, stations: &StationTable, topic: &str) -> (Route, bool) {
        self.take_up(stations);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        if let Some(route) = self.known.get(topic) {
            return (route.clone(), false);
        }
        let route = look_up(stations, &self.named, topic);
        self.known.insert(topic.into(), route.clone());
        (route, true)
    }

    /// What to subscribe to. Telemetry is shared with the other hubs of the group; what devices say of themselves and their
    /// answers to commands go to every hub, because each may have given the command.
    pub(super) fn filters(
        &mut self,
        stations: &StationTable,
        share: Option<&str>,
        configured: &[String],
    ) -> Vec<Filter> {
        self.take_up(stations);
        let telemetry: BTreeSet<String> = if configured.is_empty() {
            let usual = std::iter::once("devices/+/telemetry".to_owned());
            usual.chain(self.named.templates().map(TopicTemplate::filter)).collect()
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
        let own =
            own.map(|(path, wants_retained)| Filter { path: path.to_owned(), wants_retained });
        shared.chain(own).collect()
    }

    /// Begins anew with another table.
    fn take_up(&mut self, stations: &StationTable) {
        if self.version != stations.version {
            self.version = stations.version;
            self.known.clear();
            self.named = Named::of(stations);
        }
    }
}

fn look_up(stations: &StationTable, named: &Named, topic: &str) -> Route {
    if !topics::is_topic(topic) {
        return Route::Refused(Refusal::BadTopic);
    }
    if let Some((station, own)) = by_id(stations, named, topic) {
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
        [] if named.has_lorawan && topics::is_event(topic) => Route::Aside,
        [] => Route::Refused(Refusal::UnknownDevice(topic.to_owned())),
    }
}

/// The device whose id the topic holds, where its own topics have it.
fn by_id<'a>(
    stations: &'a StationTable,
    named: &Named,
    topic: &str,
) -> Option<(&'a Arc<Station>, OwnTopic)> {
    let usual = topic.strip_prefix("devices/").and_then(|rest| rest.split('/').next());
    let by_template = named.templates().filter_map(|template| template.device_in(topic));
    usual.into_iter().chain(by_template).find_map(|name| {
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
        let devices = [
            device("gw-1", "plain", None, None),
            device("gw-2", "plain", None, None),
            device("a", "site", Some("gw-1"), Some("x")),
            device("b", "site", Some("gw-1"), Some("7")),
            device("c", "site", Some("gw-2"), Some("7")),
            device("solo", "site", None, None),
        ];
        table_of(devices, &StationTable::default())
    }

    fn table_of(
        devices: impl IntoIterator<Item = Device>,
        previous: &StationTable,
    ) -> StationTable {
        let folder = tempfile::tempdir().expect("a folder");
        let store = EmbeddedStore::open(&folder.path().join("readings.db")).expect("a store");
        let mut profiles = ProfileSet::default();
        for profile in
            [profile("plain", ""), profile("site", "topic = \"sewer/{site}/{device}/{part?}\"")]
        {
            profiles.profiles.insert(profile.id.clone(), profile);
        }
        let town = Town::new(1, devices, [], []);
        StationTable::build(&town, &profiles, &store, &|_| None, previous).expect("a table")
    }

    #[test]
    fn another_table_is_taken_up_whole() {
        let mut routes = Routes::default();
        let plain = table_of([device("p", "plain", None, None)], &StationTable::default());
        assert_eq!(routes.filters(&plain, None, &[]).len(), 3);
        let is_known = |routes: &mut Routes, stations: &StationTable, topic: &str| {
            matches!(routes.find(stations, topic).0, Route::Station { .. })
        };
        assert!(!is_known(&mut routes, &plain, "sewer/east/solo"));
        let site = table_of([device("solo", "site", None, None)], &plain);
        assert!(is_known(&mut routes, &site, "sewer/east/solo"));
        assert!(!is_known(&mut routes, &site, "devices/p/telemetry"));
        let paths = routes.filters(&site, None, &[]);
        assert!(paths.iter().any(|filter| filter.path == "sewer/+/+/#"), "{paths:?}");
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
            let filters = Routes::default().filters(&table(), share, configured);
            filters.into_iter().map(|filter| filter.path).collect()
        };
        let own = ["devices/+/status", "devices/+/replies"];
        assert_eq!(paths(None, &[]), [&["devices/+/telemetry", "sewer/+/+/#"], &own[..]].concat());
        let configured = ["plant/#".to_owned()];
        assert_eq!(paths(Some("g"), &configured), [&["$share/g/plant/#"], &own[..]].concat());
    }
}
