//! The town as the hub imports it: GeoJSON for places, CSV for devices.

use serde_json::{Map, Value, json};

use super::{Asset, Geometry, Observes, Town};
use crate::geo::Point;

impl Town {
    /// All assets as a GeoJSON FeatureCollection. A lot stands before its bays.
    pub fn assets_geojson(&self) -> Value {
        let features: Vec<Value> = self.assets.iter().map(feature).collect();
        json!({ "type": "FeatureCollection", "features": features })
    }

    /// All devices as CSV with the header id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,secret.
    /// `endpoint` gives a gate's `host:port`, `secret` the secret of a device that publishes.
    ///
    /// # Errors
    /// When the writer fails, which a vector does not.
    pub fn devices_csv(
        &self,
        endpoint: impl Fn(usize) -> String,
        secret: impl Fn(&str) -> String,
    ) -> Result<Vec<u8>, csv::Error> {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record([
            "id",
            "profile",
            "asset",
            "name_zh",
            "name_en",
            "modbus_endpoint",
            "modbus_unit",
            "secret",
        ])?;
        for device in &self.devices {
            // A gate is polled: it has an address and never logs in.
            let (address, unit, secret) = match device.observes {
                Observes::Gate(gate) => (endpoint(gate), "1", String::new()),
                _ => (String::new(), "", secret(&device.id)),
            };
            out.write_record([
                &device.id,
                device.profile.id(),
                &device.asset,
                &device.name.zh,
                &device.name.en,
                &address,
                unit,
                &secret,
            ])?;
        }
        out.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    }
}

fn feature(asset: &Asset) -> Value {
    let mut properties = Map::new();
    properties.insert("id".into(), json!(asset.id));
    properties.insert("kind".into(), json!(asset.kind.as_str()));
    properties.insert("name_zh".into(), json!(asset.name.zh));
    properties.insert("name_en".into(), json!(asset.name.en));
    properties.insert("zone".into(), json!(asset.zone));
    if let Some(parent) = &asset.parent {
        properties.insert("parent".into(), json!(parent));
    }
    properties.extend(asset.properties.clone());
    json!({ "type": "Feature", "geometry": geometry(&asset.geometry), "properties": properties })
}

fn geometry(geometry: &Geometry) -> Value {
    let line = |points: &[Point]| points.iter().map(|p| p.to_json()).collect::<Vec<_>>();
    match geometry {
        Geometry::Point(point) => json!({ "type": "Point", "coordinates": point.to_json() }),
        Geometry::Line(points) => json!({ "type": "LineString", "coordinates": line(points) }),
        Geometry::Polygon(points) => {
            let mut ring = line(points);
            ring.extend(ring.first().cloned());
            json!({ "type": "Polygon", "coordinates": [ring] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_geojson_with_what_the_import_asks_for() {
        let town = Town::wuzhen().unwrap();
        let json = town.assets_geojson();
        let features = json["features"].as_array().unwrap();
        assert_eq!(features.len(), town.assets.len());
        for feature in features {
            for key in ["id", "kind", "name_zh", "name_en", "zone"] {
                assert!(feature["properties"][key].is_string(), "{feature}");
            }
            assert!(feature["geometry"]["coordinates"].is_array());
        }
        let find = |id: &str| features.iter().find(|f| f["properties"]["id"] == id).unwrap();
        assert_eq!(find("PB-001")["properties"]["parent"], "PK-001");
        assert_eq!(find("PF-001")["properties"]["from"], "MH-001");
        let ring = find("PK-001")["geometry"]["coordinates"][0].as_array().unwrap().clone();
        assert_eq!(ring.first(), ring.last(), "a ring is closed");
    }

    #[test]
    fn a_gate_has_an_address_and_a_sensor_a_secret() {
        let town = Town::wuzhen().unwrap();
        let bytes =
            town.devices_csv(|gate| format!("127.0.0.1:{gate}"), |id| format!("s-{id}")).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), town.devices.len() + 1);
        let row = |id: &str| text.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(row("sg-001,").ends_with(",127.0.0.1:0,1,"));
        assert!(row("mh-001,").ends_with(",,,s-mh-001"));
    }
}
