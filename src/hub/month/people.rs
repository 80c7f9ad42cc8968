//! The town's people: an operator who acknowledges, a dispatcher, crews that drive out and repair, a supervisor who
//! verifies and closes. Most are quick, one in five is slow, and whoever tries too early is refused and tries again.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::rig::Rig;
use crate::alert::AlertId;
use crate::case::{
    Actor, Case, CaseError, CaseId, Lacking, Missing, Move, Refusal, Remarks, Stage, Unit, suggest,
};
use crate::model::{AssetKind, Label, Role, Severity, Timestamp};

/// What the people did in all.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    pub(super) moves: usize,
    pub(super) acknowledged: usize,
    /// Closings that the sensors refused.
    pub(super) refused: usize,
    pub(super) repairs: usize,
    /// Looks at a case that was overdue.
    pub(super) overdue: usize,
    /// Looks at a case that was escalated.
    pub(super) escalated: usize,
    pub(super) rejected: usize,
}

/// The people on duty.
pub(super) struct People {
    rng: StdRng,
    /// When somebody next touches a case, and the version that they have in mind.
    plans: BTreeMap<CaseId, (u32, Timestamp)>,
    /// When the operator sees an alert.
    eyes: BTreeMap<AlertId, Timestamp>,
    pub(super) deeds: Deeds,
}

/// What somebody does about a case now.
enum Deed {
    Make(Move, &'static str, Role),
    /// The crew repairs what it was sent to, and reports.
    Repair(&'static str),
    Wait,
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// The crews: by zone, and one that knows gates.
fn crews() -> Vec<Unit> {
    let unit = |id: &str, zones: &[&str], kinds: &[AssetKind], members: &[&str]| Unit {
        id: id.parse().expect("an id"),
        name: Label::same(id),
        zones: zones.iter().map(|zone| zone.parse().expect("an id")).collect(),
        kinds: kinds.to_vec(),
        members: members.iter().map(|&name| name.to_owned()).collect(),
        version: 0,
    };
    vec![
        unit("west", &["xizha", "canal"], &[], &["zhang"]),
        unit("east", &["dongzha", "nanzha"], &[], &["li"]),
        unit("middle", &[], &[], &["wang"]),
        unit("gates", &[], &[AssetKind::SluiceGate], &["chen"]),
    ]
}

/// Who of a unit goes.
fn member(unit: &str) -> &'static str {
    match unit {
        "west" => "zhang",
        "east" => "li",
        "gates" => "chen",
        _ => "wang",
    }
}

impl People {
    /// People whose haste hangs on a seed.
    pub(super) async fn new(rig: &Rig, seed: u64) -> Self {
        let now = rig.now();
        for unit in crews() {
            let put = rig.ask(move |desk| desk.registrar.put_unit(unit, "admin", now)).await;
            put.expect("a unit");
        }
        People {
            rng: StdRng::seed_from_u64(seed),
            plans: BTreeMap::new(),
            eyes: BTreeMap::new(),
            deeds: Deeds::default(),
        }
    }

    /// Everybody looks at what is on the list and does what is due. `repair` ends what is wrong with a device. Returns
    /// whether anything urgent is open.
    pub(super) async fn act(&mut self, rig: &Rig, repair: &mut dyn FnMut(&str)) -> bool {
        self.acknowledge(rig).await;
        let cases = rig.ask(|desk| Ok(desk.registrar.cases().cloned().collect::<Vec<_>>())).await;
        let cases = cases.expect("the office is open");
        self.plans.retain(|id, _| cases.iter().any(|case| case.id == *id));
        for case in &cases {
            self.deeds.overdue += usize::from(case.overdue.is_some());
            self.deeds.escalated += usize::from(case.escalation > 0);
            let now = rig.now();
            let due = match self.plans.get(&case.id) {
                Some((version, due)) if *version == case.version => *due,
                _ => {
                    let due = now.plus(self.haste(case));
                    self.plans.insert(case.id, (case.version, due));
                    due
                }
            };
            if now >= due {
                self.touch(rig, case, repair).await;
            }
        }
        cases.iter().any(|case| case.severity >= Severity::Major)
    }

    /// How long until somebody gets to the next step of a case.
    fn haste(&mut self, case: &Case) -> Duration {
        let is_slow = self.rng.random_range(0..5) == 0;
        let urgent = case.severity >= Severity::Major;
        let range = match (&case.stage, case.arrived_at.is_some()) {
            (Stage::Opened, _) if urgent => 1..4,
            (Stage::Opened, _) => 5..90,
            (Stage::Dispatched { .. }, _) if is_slow => 20..120,
            (Stage::Dispatched { .. }, _) => 1..4,
            (Stage::Accepted { .. }, false) if is_slow => 60..150,
            (Stage::Accepted { .. }, false) => 8..25,
            (Stage::Accepted { .. }, true) => 10..60,
            (Stage::Reported { .. } | Stage::Verified { .. } | Stage::Closed { .. }, _) => 1..15,
        };
        minutes(self.rng.random_range(range))
    }

    async fn acknowledge(&mut self, rig: &Rig) {
        let now = rig.now();
        let open = rig.open_alerts();
        self.eyes.retain(|id, _| open.iter().any(|alert| alert.id == *id));
        for alert in open.iter().filter(|alert| alert.acknowledged_at.is_none()) {
            let sees = minutes(self.rng.random_range(1..6));
            if *self.eyes.entry(alert.id).or_insert(now.plus(sees)) > now {
                continue;
            }
            self.eyes.remove(&alert.id);
            let version = Some(alert.version);
            rig.present.acknowledge(alert.id, version, "operator", None).await.expect("seen");
            self.deeds.acknowledged += 1;
        }
    }

    async fn touch(&mut self, rig: &Rig, case: &Case, repair: &mut dyn FnMut(&str)) {
        let lacking = outlook(rig, case.id).await;
        let deed = self.decide(case, &lacking);
        let (wanted, name, role) = match deed {
            Deed::Wait => return,
            Deed::Make(wanted, name, role) => (wanted, name, role),
            Deed::Repair(name) => {
                if let Some(device) = &case.subject.device {
                    repair(device.as_str());
                    self.deeds.repairs += 1;
                }
                (Move::Report, name, Role::Handler)
            }
        };
        let rejects = matches!(wanted, Move::Reject { .. });
        match make(rig, case, wanted, name, role).await {
            Ok(_) => {
                self.deeds.moves += 1;
                self.deeds.rejected += usize::from(rejects);
            }
            Err(CaseError::Refused(Refusal::Sensor { lacking: said, .. })) => {
                assert!(!said.is_empty(), "a refusal says what is missing");
                self.deeds.refused += 1;
                // They come back later.
                self.plans.insert(case.id, (case.version, rig.now().plus(minutes(5))));
            }
            Err(why) => panic!("case {}: {why}", case.id.0),
        }
    }

    fn decide(&mut self, case: &Case, lacking: &[Lacking]) -> Deed {
        let is_active = lacking.iter().any(|lack| matches!(lack.what, Missing::Clear { .. }));
        match &case.stage {
            // The rain stopped before anybody was sent.
            Stage::Opened if lacking.is_empty() => {
                Deed::Make(Move::Close { site_check: None }, "supervisor", Role::Supervisor)
            }
            Stage::Opened if !is_active => Deed::Wait,
            Stage::Opened => {
                let zone = case.subject.zone.as_ref();
                let crews = crews();
                let unit = suggest(&crews, zone, case.subject.kind).expect("a crew for everything");
                let person = Some(member(unit.id.as_str()).to_owned());
                let dispatch = Move::Dispatch { unit: unit.id.clone(), person };
                Deed::Make(dispatch, "dispatcher", Role::Dispatcher)
            }
            Stage::Dispatched { unit, .. } => {
                Deed::Make(Move::Accept, member(unit.as_str()), Role::Handler)
            }
            Stage::Accepted { unit, .. } if case.arrived_at.is_none() => {
                Deed::Make(Move::Handle, member(unit.as_str()), Role::Handler)
            }
            Stage::Accepted { unit, .. } => Deed::Repair(member(unit.as_str())),
            // What has not even begun to return is looked at once more on the site, now and then.
            Stage::Reported { .. } if is_active && self.rng.random_range(0..40) == 0 => {
                let reason = "the sensor still says no".to_owned();
                Deed::Make(Move::Reject { reason }, "supervisor", Role::Supervisor)
            }
            Stage::Reported { .. } if is_active => Deed::Wait,
            Stage::Reported { .. } => Deed::Make(Move::Verify, "supervisor", Role::Supervisor),
            Stage::Verified { .. } => {
                Deed::Make(Move::Close { site_check: None }, "supervisor", Role::Supervisor)
            }
            Stage::Closed { .. } => Deed::Wait,
        }
    }
}

fn actor(name: &str, role: Role) -> Actor {
    Actor { name: name.to_owned(), role, zones: None }
}

/// What the sensors of a case lack.
async fn outlook(rig: &Rig, id: CaseId) -> Vec<Lacking> {
    let asked = rig.ask(move |desk| {
        let now = desk.now();
        let supervisor = actor("supervisor", Role::Supervisor);
        desk.registrar.outlook(id, &supervisor, desk.evidence(), now)
    });
    let (_, _, lacking) = asked.await.expect("an open case");
    lacking
}

async fn make(
    rig: &Rig,
    case: &Case,
    wanted: Move,
    name: &'static str,
    role: Role,
) -> Result<Case, CaseError> {
    let (id, version) = (case.id, case.version);
    rig.ask(move |desk| {
        let who = actor(name, role);
        desk.change(|registrar, evidence, now| {
            registrar.make(id, version, &wanted, Remarks::default(), &who, evidence, now)
        })
    })
    .await
}
