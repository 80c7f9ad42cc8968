//! One message for several devices: what a gateway brought, each report to its own station.
//!
//! Which profile reads a gateway's message? When the topic names a listed device, that device's. On the gateway's own
//! topic every profile among its listed devices reads the message, and the gateway's own: each takes what is said of
//! *its* devices, because only a device's own profile knows what its names and units mean. So one message may mix models.
//! A report that names nobody is of the one that the topic names; so is what a LoRaWAN network says in a topic of a device,
//! whatever DevEUI stands inside.
//!
//! What names somebody else (no device, or another gateway's) is counted and kept for a look at the gateway, and costs the
//! rest of the message nothing.
//!
//! Invariant: every report goes through its own station's desk, so a device that is heard on two ways has one track, and
//! batches come to the disk in the order in which they were judged.

use std::sync::Arc;

use super::intake::{Bill, Closed, Draft, Intake, UNKNOWN_DEVICE, unknown_device};
use super::station::{Listed, Station, Undecoded};
use crate::model::{Reading, Timestamp};
use crate::normalize::Tally;
use crate::profile::{DecodeError, Decoded, DeviceTime, Profile};

/// A message as a gateway brought it.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// Who brought it.
    pub gateway: &'a Arc<Station>,
    /// For whom it may speak.
    pub listed: Option<&'a Listed>,
    /// Whom the topic names: a listed device, or the gateway itself.
    pub addressee: &'a Arc<Station>,
    /// Where it was published.
    pub topic: &'a str,
    /// What was published.
    pub payload: &'a [u8],
    /// When it came.
    pub received_at: Timestamp,
}

/// How one profile reads a parcel.
#[derive(Debug)]
pub struct Decoding {
    /// Which profile.
    pub profile: Arc<Profile>,
    /// What it found.
    pub outcome: Result<Decoded, DecodeError>,
}

impl Decoding {
    fn says_nothing(&self) -> bool {
        self.outcome.as_ref().is_ok_and(Decoded::is_empty)
    }
}

/// What became of a parcel.
#[derive(Debug)]
pub struct Unpacked {
    /// Whether anything in it was taken; if not, it is kept for a look.
    pub is_taken: bool,
    /// To be paid before more is read.
    pub bills: Vec<Bill>,
}

/// What a parcel says of one device.
struct Share<'a> {
    station: &'a Arc<Station>,
    reports: Vec<(DeviceTime, &'a [Reading])>,
}

impl<'a> Parcel<'a> {
    /// The profiles that have to read it.
    pub fn profiles(&self) -> Vec<Arc<Profile>> {
        let mut profiles = vec![Arc::clone(&self.addressee.profile)];
        if Arc::ptr_eq(self.addressee, self.gateway) {
            let listed = self.listed.map_or(&[][..], Listed::profiles);
            let others = listed.iter().filter(|p| !Arc::ptr_eq(p, &self.addressee.profile));
            profiles.extend(others.cloned());
        }
        profiles
    }

    /// Whether it can only be of one device: the topic names it, or nobody stands behind who brought it.
    fn is_of_one(&self) -> bool {
        self.listed.is_none() || !Arc::ptr_eq(self.addressee, self.gateway)
    }

    /// Who is called so in it.
    fn find(&self, name: &str) -> Option<&'a Arc<Station>> {
        let listed = self.listed.and_then(|listed| listed.get(name));
        listed.or_else(|| Some(self.gateway).filter(|gateway| gateway.is_called(name)))
    }

    fn undecoded(&self, reason: &'static str, message: String) -> Undecoded {
        Undecoded {
            received_at: self.received_at,
            topic: self.topic.to_owned(),
            reason,
            message,
            payload: self.payload.to_vec(),
            size: self.payload.len(),
        }
    }
}

/// A parcel sorted by whom it concerns.
#[derive(Default)]
struct Sorted<'a> {
    shares: Vec<Share<'a>>,
    /// Named, but none of the gateway's.
    unknown: Vec<&'a str>,
    /// Named by another profile than its own; fine if its own found something too.
    mentioned: Vec<&'a Arc<Station>>,
}

impl<'a> Sorted<'a> {
    fn new(parcel: &Parcel<'a>, decodings: &'a [Decoding]) -> Self {
        let mut sorted = Sorted::default();
        for Decoding { profile, outcome } in decodings {
            let Ok(decoded) = outcome else { continue };
            for (report, readings) in decoded.reports() {
                let Some(name) = report.device.as_deref() else {
                    if Arc::ptr_eq(&parcel.addressee.profile, profile) {
                        sorted.add(parcel.addressee, report.time, readings);
                    }
                    continue;
                };
                let found = parcel.find(name).or_else(|| {
                    // A network names a device in two ways, by its own id in the topic and by DevEUI inside.
                    let is_one = parcel.is_of_one() && profile.lorawan().is_some();
                    is_one.then_some(parcel.addressee)
                });
                match found {
                    Some(station) if Arc::ptr_eq(&station.profile, profile) => {
                        sorted.add(station, report.time, readings);
                    }
                    Some(station) => sorted.mentioned.push(station),
                    None if sorted.unknown.contains(&name) => {}
                    None => sorted.unknown.push(name),
                }
            }
        }
        let shares = &sorted.shares;
        sorted.mentioned.retain(|station| !shares.iter().any(|s| Arc::ptr_eq(s.station, station)));
        sorted.mentioned.sort_by(|a, b| a.device.id.cmp(&b.device.id));
        sorted.mentioned.dedup_by(|a, b| Arc::ptr_eq(a, b));
        sorted
    }

    fn add(&mut self, station: &'a Arc<Station>, time: DeviceTime, readings: &'a [Reading]) {
        if readings.is_empty() {
            return;
        }
        match self.shares.iter_mut().find(|share| Arc::ptr_eq(share.station, station)) {
            Some(share) => share.reports.push((time, readings)),
            None => self.shares.push(Share { station, reports: vec![(time, readings)] }),
        }
    }
}

impl Intake {
    /// Keeps a parcel for a look whose topic names a device that does not stand behind who brought it.
    pub fn keep_unknown(&self, parcel: &Parcel<'_>, name: &str) {
        let undecoded = parcel.undecoded(UNKNOWN_DEVICE, unknown_device(&[name]));
        parcel.gateway.keep_undecoded(undecoded);
        self.counters().taken(1, 1, &Tally::default());
    }

    /// Hands out what the profiles found in a parcel, each device its share, and keeps for a look what nobody takes.
    /// Nothing of it is acknowledged by this: [`Intake::seal`] what was handed in.
    ///
    /// # Errors
    /// When the hub is shutting down and takes nothing more.
    pub fn hand_out(
        &self,
        parcel: &Parcel<'_>,
        decodings: &[Decoding],
        draft: &mut Draft,
    ) -> Result<Unpacked, Closed> {
        let sorted = Sorted::new(parcel, decodings);
        let mut undecoded = 0;
        let mut keep = |station: &Station, reason, message| {
            undecoded += 1;
            station.keep_undecoded(parcel.undecoded(reason, message));
        };
        if !sorted.unknown.is_empty() {
            keep(parcel.gateway, UNKNOWN_DEVICE, unknown_device(&sorted.unknown));
        }
        for station in &sorted.mentioned {
            let none = DecodeError::NoPoint;
            keep(station, none.reason(), format!("from its gateway: {none}"));
        }
        let is_nothing_found =
            sorted.shares.is_empty() && sorted.unknown.is_empty() && sorted.mentioned.is_empty();
        // A birth, say: well, and without a reading.
        let says_nothing = is_nothing_found && decodings.iter().any(Decoding::says_nothing);
        if is_nothing_found && !says_nothing {
            let why = decodings.iter().find_map(|decoding| decoding.outcome.as_ref().err());
            let why = why.unwrap_or(&DecodeError::NoPoint);
            keep(parcel.addressee, why.reason(), why.to_string());
        }
        self.counters().taken(1, undecoded, &Tally::default());
        let mut bills = Vec::new();
        for share in &sorted.shares {
            let mut desk = self.desk(share.station, parcel.received_at, draft);
            for (time, readings) in &share.reports {
                desk.report(*time, readings);
            }
            bills.push(desk.hand_in(None)?);
        }
        Ok(Unpacked { is_taken: says_nothing || !sorted.shares.is_empty(), bills })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;
    use crate::model::{Label, PointIndex};
    use crate::pipeline::{Committer, JudgeMessage, Progress, Receipt, StationTable};
    use crate::profile::{ProfileSet, read_text};
    use crate::registry::{Device, Town};
    use crate::store::{EmbeddedStore, Store};

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn profile(id: &str, point: &str) -> Arc<Profile> {
        let text = format!(
            "profile = 1\nid = \"{id}\"\nname = \"{id}\"\nmanufacturer = \"m\"\nmodel = \"m\"\nkind = \"manhole\"\n\
             [source.mqtt]\npayload = \"json\"\n[points.{point}]\nlabel = \"{point}\"\nunit = \"m\"\n\
             read = {{ path = \"/{point}\" }}\nrange = [0, 100]\n"
        );
        Arc::new(read_text("test.toml", &text).expect("a profile").profile)
    }

    fn device(id: &str, profile: &str, gateway: Option<&str>, address: Option<&str>) -> Device {
        Device {
            id: id.parse().unwrap(),
            name: Label::same(id),
            profile: profile.parse().unwrap(),
            asset: None,
            modbus: None,
            gateway: gateway.map(|id| id.parse().unwrap()),
            address: address.map(|text| text.parse().unwrap()),
        }
    }

    /// `gw` with `a` and `b` (as `b-at-gw`) of its own profile and `m` of another; `x` is behind another gateway.
    struct Rig {
        table: Arc<StationTable>,
        intake: Intake,
        store: Arc<dyn Store>,
        _judged: mpsc::Receiver<JudgeMessage>,
        _folder: tempfile::TempDir,
    }

    /// Names on the gateway, and a value for each.
    type Reports<'a> = &'a [(Option<&'a str>, f64)];

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store: Arc<dyn Store> =
                Arc::new(EmbeddedStore::open(&folder.path().join("readings.db")).unwrap());
            let mut profiles = ProfileSet::default();
            for profile in [profile("probe", "level"), profile("meter", "flow")] {
                profiles.profiles.insert(profile.id.clone(), profile);
            }
            let devices = [
                device("gw", "probe", None, None),
                device("a", "probe", Some("gw"), None),
                device("b", "probe", Some("gw"), Some("b-at-gw")),
                device("m", "meter", Some("gw"), None),
                device("gw-2", "probe", None, None),
                device("x", "probe", Some("gw-2"), None),
            ];
            let town = Town::new(1, devices, [], []);
            let none = StationTable::default();
            let table =
                Arc::new(StationTable::build(&town, &profiles, &*store, &|_| None, &none).unwrap());
            let (judge, judged) = mpsc::channel(1_024);
            let stations = Arc::new(arc_swap::ArcSwap::new(Arc::clone(&table)));
            let health = Arc::default();
            let (_, intake) =
                Committer::start(Arc::clone(&store), stations, judge, Arc::default(), health)
                    .unwrap();
            Rig { table, intake, store, _judged: judged, _folder: folder }
        }

        /// Hands out what the profiles found on the topic of `addressee`; returns whether anything was taken.
        async fn hand_out(&self, addressee: &str, found: &[(&str, Reports<'_>)]) -> bool {
            let decodings: Vec<_> = found
                .iter()
                .map(|(profile, reports)| {
                    let mut decoded = Decoded::default();
                    for (name, raw) in *reports {
                        decoded.begin(*name, DeviceTime::Unsaid);
                        let point = PointIndex(0);
                        decoded.push(Reading { point, raw: *raw, comm_fault: false });
                    }
                    let stations = self.table.iter();
                    let profile = stations.map(|s| &s.profile).find(|p| p.id.as_str() == *profile);
                    Decoding { profile: Arc::clone(profile.unwrap()), outcome: Ok(decoded) }
                })
                .collect();
            let gateway = self.table.get("gw").unwrap();
            let parcel = Parcel {
                gateway,
                listed: self.table.behind(&gateway.device.id),
                addressee: self.table.get(addressee).unwrap(),
                topic: "t",
                payload: b"p",
                received_at: NOW,
            };
            let unpacked =
                self.intake.hand_out(&parcel, &decodings, &mut Draft::default()).unwrap();
            let progress = Arc::new(Progress::default());
            let receipt = Receipt { progress: Arc::clone(&progress), number: 1 };
            self.intake.seal(receipt).unwrap().pay().await;
            timeout(Duration::from_secs(5), progress.changed()).await.expect("on disk");
            unpacked.is_taken
        }

        fn stored(&self, device: &str) -> Vec<f64> {
            let series = self.table.get(device).unwrap().series[0];
            let hour = Duration::from_secs(3600);
            let samples = self.store.range(series, NOW.minus(hour), NOW.plus(hour), 100).unwrap();
            samples.iter().map(|sample| sample.value).collect()
        }

        fn reasons(&self, device: &str) -> Vec<&'static str> {
            self.table.get(device).unwrap().undecoded().iter().map(|u| u.reason).collect()
        }
    }

    #[tokio::test]
    async fn each_profile_takes_what_is_said_of_its_own_devices() {
        let rig = Rig::new();
        let all = [(None, 1.0), (Some("a"), 2.0), (Some("b-at-gw"), 3.0), (Some("m"), 4.0)];
        assert!(
            rig.hand_out("gw", &[("probe", &all), ("meter", &[(None, 9.0), (Some("m"), 5.0)])])
                .await
        );
        assert_eq!(
            (rig.stored("gw"), rig.stored("a"), rig.stored("b")),
            (vec![1.0], vec![2.0], vec![3.0])
        );
        assert_eq!(rig.stored("m"), [5.0], "read by its own profile");
        assert!(["gw", "a", "b", "m"].iter().all(|device| rig.reasons(device).is_empty()));
    }

    #[tokio::test]
    async fn who_is_not_listed_is_kept_for_a_look_and_costs_the_others_nothing() {
        let rig = Rig::new();
        let all = [(Some("x"), 1.0), (Some("a"), 2.0), (Some("nobody"), 3.0)];
        assert!(rig.hand_out("gw", &[("probe", &all)]).await);
        assert_eq!((rig.stored("a"), rig.stored("x")), (vec![2.0], vec![]));
        assert_eq!(rig.reasons("gw"), ["unknown_device"]);
        let message = rig.table.get("gw").unwrap().undecoded()[0].message.clone();
        assert!(message.contains("`x`, `nobody`"), "{message}");
        assert!(!rig.hand_out("gw", &[("probe", &[(Some("x"), 1.0)])]).await, "nothing was taken");
    }

    #[tokio::test]
    async fn a_device_that_only_a_foreign_profile_could_read_is_told() {
        let rig = Rig::new();
        assert!(!rig.hand_out("gw", &[("probe", &[(Some("m"), 4.0)])]).await);
        assert_eq!(
            (rig.stored("m"), rig.reasons("m"), rig.reasons("gw")),
            (vec![], vec!["no_point"], vec![])
        );
    }

    #[tokio::test]
    async fn a_topic_of_one_device_speaks_for_it_and_a_message_may_say_nothing() {
        let rig = Rig::new();
        assert!(
            rig.hand_out("a", &[("probe", &[(None, 2.0), (Some("b"), 3.0), (Some("x"), 4.0)])])
                .await
        );
        assert_eq!(
            (rig.stored("a"), rig.stored("b"), rig.stored("gw")),
            (vec![2.0], vec![3.0], vec![])
        );
        assert_eq!(rig.reasons("gw"), ["unknown_device"]);
        assert!(rig.hand_out("a", &[("probe", &[])]).await, "a birth");
        assert!(rig.reasons("a").is_empty());
    }
}
