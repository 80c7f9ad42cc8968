//! Devices as the CSV that an import takes, without their secrets: those are stored hashed.

use super::Registry;
use super::things::Device;

const COLUMNS: [&str; 9] = [
    "id",
    "profile",
    "asset",
    "name_zh",
    "name_en",
    "modbus_endpoint",
    "modbus_unit",
    "gateway",
    "address",
];

impl Registry {
    /// Every device by id, as a CSV that an import of devices takes back unchanged.
    pub fn export_devices_csv(&self) -> String {
        let town = self.town();
        let mut devices: Vec<_> = town.devices.values().collect();
        devices.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let rows = devices.iter().map(|device| row(device));
        csv_text(std::iter::once(COLUMNS.map(str::to_owned)).chain(rows))
    }
}

fn row(device: &Device) -> [String; 9] {
    let text = |value: Option<&dyn ToString>| value.map(ToString::to_string).unwrap_or_default();
    let modbus = device.modbus.as_ref();
    [
        device.id.to_string(),
        device.profile.to_string(),
        text(device.asset.as_ref().map(|id| id as _)),
        device.name.zh.clone(),
        device.name.en.clone(),
        text(modbus.map(|modbus| &modbus.endpoint as _)),
        text(modbus.map(|modbus| &modbus.unit as _)),
        text(device.gateway.as_ref().map(|id| id as _)),
        text(device.address.as_ref().map(|address| address as _)),
    ]
}

/// Secrets that were just made, as the CSV `id,secret`.
pub fn secrets_csv<'a>(secrets: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let rows = secrets.map(|(id, secret)| [id.to_owned(), secret.to_owned()]);
    csv_text(std::iter::once(["id", "secret"].map(str::to_owned)).chain(rows))
}

fn csv_text<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        // Into memory, every row as long as the first: it cannot fail.
        let _ = writer.write_record(row);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}
