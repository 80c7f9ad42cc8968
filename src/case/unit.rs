//! Who is sent: units of the command centre's plan.

use serde::{Deserialize, Serialize};

use super::UnitId;
use crate::model::{AssetKind, Label, ZoneId};

/// A crew that cases are dispatched to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its id.
    pub id: UnitId,
    /// What it is called.
    pub name: Label,
    /// The zones that it serves; empty is every zone.
    pub zones: Vec<ZoneId>,
    /// The kinds of assets that it knows; empty is every kind.
    pub kinds: Vec<AssetKind>,
    /// Login names of its people; the first is told first when a case is overdue.
    pub members: Vec<String>,
    /// Grows with every change.
    pub version: u32,
}

impl Unit {
    /// How well it fits a case: more for a zone or a kind that it names than for one that it merely takes; `None` when
    /// it does not fit at all.
    pub fn fit(&self, zone: Option<&ZoneId>, kind: Option<AssetKind>) -> Option<u8> {
        let by_zone = match zone {
            _ if self.zones.is_empty() => 0,
            Some(zone) if self.zones.contains(zone) => 2,
            _ => return None,
        };
        let by_kind = match kind {
            _ if self.kinds.is_empty() => 0,
            Some(kind) if self.kinds.contains(&kind) => 1,
            _ => return None,
        };
        Some(by_zone + by_kind)
    }
}

/// The unit that fits best; of equals the first by id.
pub fn suggest<'u>(
    units: &'u [Unit],
    zone: Option<&ZoneId>,
    kind: Option<AssetKind>,
) -> Option<&'u Unit> {
    let fitting = units.iter().filter_map(|unit| Some((unit.fit(zone, kind)?, unit)));
    fitting.min_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.id.cmp(&y.id))).map(|(_, unit)| unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(id: &str, zones: &[&str], kinds: &[AssetKind]) -> Unit {
        Unit {
            id: id.parse().expect("an id"),
            name: Label::same(id),
            zones: zones.iter().map(|zone| zone.parse().expect("an id")).collect(),
            kinds: kinds.to_vec(),
            members: Vec::new(),
            version: 1,
        }
    }

    #[test]
    fn the_unit_that_names_zone_and_kind_is_suggested_first() {
        let units = [
            unit("all", &[], &[]),
            unit("gates", &[], &[AssetKind::SluiceGate]),
            unit("west", &["xizha"], &[]),
            unit("west-gates", &["xizha"], &[AssetKind::SluiceGate]),
        ];
        let west = "xizha".parse().expect("an id");
        let east = "dongzha".parse().expect("an id");
        let check = |zone, kind, expected: &str| {
            let found = suggest(&units, zone, kind).map(|unit| unit.id.as_str());
            assert_eq!(found, Some(expected));
        };
        check(Some(&west), Some(AssetKind::SluiceGate), "west-gates");
        check(Some(&west), Some(AssetKind::Manhole), "west");
        check(Some(&east), Some(AssetKind::SluiceGate), "gates");
        check(Some(&east), Some(AssetKind::Manhole), "all");
        check(None, None, "all");
        assert_eq!(suggest(&units[2..], Some(&east), None), None);
    }
}
