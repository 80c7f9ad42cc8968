//! Holds the gateways of an import's rows against each other and against the town: as they would be after it.

use std::collections::{HashMap, HashSet};

use super::row::DeviceDraft;
use crate::model::DeviceId;
use crate::registry::town::Town;

/// Who publishes for whom, under which names, after the import.
pub(super) struct Gateways<'a> {
    town: &'a Town,
    /// The devices of the document, each with the gateway that it names.
    drafts: HashMap<DeviceId, Option<DeviceId>>,
    /// Every device that somebody names as its gateway.
    named: HashSet<DeviceId>,
    /// By gateway and name: who is called so there. Empty when no row has a gateway.
    names: HashMap<(DeviceId, String), DeviceId>,
    /// Names that two devices of one gateway would have.
    doubles: HashMap<(DeviceId, String), DeviceId>,
}

impl<'a> Gateways<'a> {
    pub(super) fn new(town: &'a Town, drafts: &[DeviceDraft]) -> Self {
        let rows = drafts.iter().filter_map(|d| Some((d.head.id.clone()?, d.gateway.clone())));
        let mut gateways = Gateways {
            town,
            drafts: rows.collect(),
            named: HashSet::new(),
            names: HashMap::new(),
            doubles: HashMap::new(),
        };
        for draft in drafts {
            if let (Some(id), Some(gateway)) = (&draft.head.id, &draft.gateway) {
                let address = draft.address.as_ref().map(|address| address.as_str());
                gateways.list(gateway, id, address);
            }
        }
        for device in town.devices.values() {
            let is_replaced = gateways.drafts.contains_key(&device.id);
            if let Some(gateway) = device.gateway.as_ref().filter(|_| !is_replaced) {
                let address = device.address.as_ref().map(|address| address.as_str());
                gateways.list(gateway, &device.id, address);
            }
        }
        gateways
    }

    /// A device goes by its address and by its id: neither may be another's.
    fn list(&mut self, gateway: &DeviceId, device: &DeviceId, address: Option<&str>) {
        self.named.insert(gateway.clone());
        for name in [Some(device.as_str()), address].into_iter().flatten() {
            let key = (gateway.clone(), name.to_owned());
            match self.names.get(&key) {
                Some(other) if other != device => {
                    self.doubles.insert(key, other.clone());
                }
                _ => {
                    self.names.insert(key, device.clone());
                }
            }
        }
    }

    /// The gateway of a device as it would be; `None` when there is no such device.
    fn gateway_of(&self, device: &DeviceId) -> Option<Option<&DeviceId>> {
        if let Some(gateway) = self.drafts.get(device) {
            return Some(gateway.as_ref());
        }
        self.town.devices.get(device).map(|known| known.gateway.as_ref())
    }

    pub(super) fn check(&self, draft: &mut DeviceDraft) {
        let DeviceDraft { head, gateway, address, .. } = draft;
        let Some(gateway) = gateway else {
            if address.is_some() {
                head.errors.push(
                    "address without gateway; an address is what the device's gateway calls it"
                        .to_owned(),
                );
            }
            return;
        };
        if head.id.as_ref() == Some(gateway) {
            head.errors.push(format!("gateway `{gateway}` is the device itself; leave it empty"));
            return;
        }
        match self.gateway_of(gateway) {
            None => head.errors.push(format!(
                "there is no device `{gateway}` to be its gateway; import it before, or in the same file"
            )),
            Some(Some(above)) => head.errors.push(format!(
                "gateway `{gateway}` stands behind gateway `{above}` itself; name `{above}`"
            )),
            Some(None) => {}
        }
        let Some(id) = &head.id else { return };
        if self.named.contains(id) {
            head.errors.push(format!(
                "`{id}` is a gateway itself, so it cannot stand behind gateway `{gateway}`"
            ));
        }
        for name in [Some(id.as_str()), address.as_ref().map(|a| a.as_str())].into_iter().flatten()
        {
            let key = (gateway.clone(), name.to_owned());
            if self.doubles.contains_key(&key) {
                head.errors.push(format!("address `{name}` is given twice at gateway `{gateway}`"));
                break;
            }
        }
    }
}
