//! Joins the notify room to the town: where things stand, who moves a case for an answer, and the hub's own broker.

use futures_util::future::BoxFuture;

use crate::alert::Alert;
use crate::case::{Actor, CaseId, Office, Remarks, Subject};
use crate::ingest::mqtt::Services;
use crate::model::AssetId;
use crate::notify::{MoveRequest, Moves, Place, Places, Publish};
use crate::registry::Registry;

/// Where things stand.
pub(crate) struct Map(pub(crate) Registry);

impl Map {
    fn place(&self, asset: Option<&AssetId>, device: Option<&str>) -> Place {
        let town = self.0.town();
        let asset = asset.and_then(|asset| town.assets.get(asset.as_str()));
        let device = device.and_then(|device| town.devices.get(device));
        Place {
            name: asset
                .map(|asset| asset.name.clone())
                .or_else(|| device.map(|device| device.name.clone())),
            zone: asset.and_then(|asset| asset.zone.clone()),
            gateway: device.and_then(|device| device.gateway.clone()),
        }
    }
}

impl Places for Map {
    fn alert(&self, alert: &Alert) -> Place {
        self.place(alert.asset.as_ref(), Some(alert.rule.device.as_str()))
    }

    fn case(&self, subject: &Subject) -> Place {
        let place =
            self.place(subject.asset.as_ref(), subject.device.as_ref().map(|id| id.as_str()));
        Place { zone: subject.zone.clone().or(place.zone), ..place }
    }
}

/// Moves cases in a user's name, with his present role and zones: an account that is disabled or gone moves nothing.
pub(crate) struct Hand {
    pub(crate) registry: Registry,
    pub(crate) office: Office,
}

impl Hand {
    async fn try_make(&self, user: String, request: MoveRequest) -> Result<String, String> {
        let registry = self.registry.clone();
        let name = user.clone();
        let users = tokio::task::spawn_blocking(move || registry.users()).await;
        let users = users.map_err(|why| why.to_string())?;
        let users = users.map_err(|why| crate::error_chain(&why))?;
        let found = users.into_iter().find(|info| info.user.name == name && !info.disabled);
        let found = found.ok_or_else(|| format!("there is no user `{user}`, or he is disabled"))?;
        let actor = Actor { name: user, role: found.user.role, zones: found.user.zones };
        let (id, version, kind) = (CaseId(request.case), request.version, request.kind);
        let (wanted, note) = request.into_move()?;
        let remarks = Remarks { note, photos: Vec::new() };
        let case = self.office.ask(move |desk| {
            desk.change(|registrar, evidence, now| {
                registrar.make(id, version, &wanted, remarks, &actor, evidence, now)
            })
        });
        let case = case.await.map_err(|why| why.to_string())?;
        Ok(format!("case {}: {kind}, version {}", case.id.0, case.version))
    }
}

impl Moves for Hand {
    fn make(&self, user: String, request: MoveRequest) -> BoxFuture<'_, String> {
        let wanted = format!("case {}: {}", request.case, request.kind);
        Box::pin(async move {
            match self.try_make(user, request).await {
                Ok(done) => done,
                Err(why) => format!("{wanted} is refused: {why}"),
            }
        })
    }
}

/// The hub's own broker.
#[derive(Debug)]
pub(super) struct OwnBroker(pub(super) Services);

impl Publish for OwnBroker {
    fn publish(&self, topic: &str, payload: &[u8]) -> Result<(), String> {
        self.0.publish(topic, payload)
    }
}
