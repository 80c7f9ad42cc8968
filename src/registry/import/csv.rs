//! Reads assets and devices from CSV (RFC 4180, UTF-8 with or without a byte order mark).

use csv::{ByteRecord, ReaderBuilder, StringRecord, Trim};

use super::row::{self, AssetDraft, DeviceDraft, Head, clip, hint, message};
use super::{MAX_DOCUMENT_BYTES, MAX_ROWS};
use crate::registry::error::RegistryError;
use crate::registry::things::ModbusAddress;

/// The columns of a table: those that must be there, and those that may.
struct Columns {
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const ASSET_COLUMNS: Columns = Columns {
    required: &["id", "kind", "lon", "lat"],
    optional: &["name_zh", "name_en", "zone", "parent", "upstream"],
};

const DEVICE_COLUMNS: Columns = Columns {
    required: &["id", "profile"],
    optional: &[
        "asset",
        "name_zh",
        "name_en",
        "modbus_endpoint",
        "modbus_unit",
        "gateway",
        "address",
        "secret",
    ],
};

/// Reads assets.
pub(super) fn assets(bytes: &[u8]) -> Result<Vec<AssetDraft>, RegistryError> {
    rows(bytes, &ASSET_COLUMNS, asset)
}

/// Reads devices.
pub(super) fn devices(bytes: &[u8]) -> Result<Vec<DeviceDraft>, RegistryError> {
    rows(bytes, &DEVICE_COLUMNS, device)
}

fn asset(mut fields: Fields<'_>) -> AssetDraft {
    let mut errors = std::mem::take(&mut fields.errors);
    let name = fields.name(&mut errors);
    let kind = row::kind(fields.get("kind"), &mut errors);
    let zone = row::parse_optional(fields.get("zone"), &mut errors);
    let parent = row::parse_optional(fields.get("parent"), &mut errors);
    let upstream = row::parse_optional(fields.get("upstream"), &mut errors);
    let lon = degrees("lon", fields.get("lon"), &mut errors);
    let lat = degrees("lat", fields.get("lat"), &mut errors);
    let position = lon
        .zip(lat)
        .and_then(|(lon, lat)| row::position(lon, lat).map_err(|error| errors.push(error)).ok());
    AssetDraft {
        head: Head::new(fields.row, fields.id(), errors),
        kind,
        name,
        zone,
        parent,
        upstream,
        geometry: position.map(|p| geo::Point::new(p.lon(), p.lat()).into()),
        properties: None,
    }
}

fn degrees(column: &str, text: &str, errors: &mut Vec<String>) -> Option<f64> {
    let number = text.parse().ok();
    if number.is_none() {
        let found = clip(text);
        errors
            .push(format!("{column} `{found}` is no number; write degrees, for example 120.4851"));
    }
    number
}

fn device(mut fields: Fields<'_>) -> DeviceDraft {
    let mut errors = std::mem::take(&mut fields.errors);
    let name = fields.name(&mut errors);
    let profile = row::parse(fields.get("profile"), &mut errors);
    let asset = row::parse_optional(fields.get("asset"), &mut errors);
    let modbus = modbus(fields.get("modbus_endpoint"), fields.get("modbus_unit"), &mut errors);
    let gateway = row::parse_optional(fields.get("gateway"), &mut errors);
    let address = row::parse_optional(fields.get("address"), &mut errors);
    let secret = match fields.get("secret") {
        "" => None,
        secret => row::check_secret(secret, &mut errors),
    };
    let head = Head::new(fields.row, fields.id(), errors);
    DeviceDraft { head, profile, name, asset, modbus, gateway, address, secret }
}

fn modbus(endpoint: &str, unit: &str, errors: &mut Vec<String>) -> Option<ModbusAddress> {
    match (endpoint, unit) {
        ("", "") => None,
        ("", _) => {
            errors.push("modbus_unit without modbus_endpoint; give both or none".to_owned());
            None
        }
        (_, "") => {
            errors.push("modbus_endpoint without modbus_unit; give both or none".to_owned());
            None
        }
        _ => {
            let unit = row::unit(unit, errors);
            row::check_endpoint(endpoint, unit, errors);
            let unit = unit?;
            Some(ModbusAddress { endpoint: endpoint.to_owned(), unit })
        }
    }
}

/// The fields of one row by the names of their columns.
struct Fields<'a> {
    row: usize,
    columns: &'a [&'static str],
    record: StringRecord,
    errors: Vec<String>,
}

impl Fields<'_> {
    /// The trimmed text of a field; empty when its column is not there.
    fn get(&self, column: &str) -> &str {
        let at = self.columns.iter().position(|&name| name == column);
        at.and_then(|at| self.record.get(at)).unwrap_or_default()
    }

    fn id(&self) -> Option<&str> {
        Some(self.get("id")).filter(|id| !id.is_empty())
    }

    fn name(&self, errors: &mut Vec<String>) -> crate::model::Label {
        row::name(self.get("name_zh"), self.get("name_en"), self.id(), errors)
    }
}

/// Reads every row with `read`. Rows of empty fields (a spreadsheet leaves them at the end) count, but are no row.
fn rows<T>(
    bytes: &[u8],
    columns: &Columns,
    read: fn(Fields<'_>) -> T,
) -> Result<Vec<T>, RegistryError> {
    let refuse = |why: String| Err(RegistryError::Document(why));
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return refuse(format!("the document has over {MAX_DOCUMENT_BYTES} bytes; split it"));
    }
    let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(bytes);
    let unreadable =
        |e: csv::Error| RegistryError::Document(format!("the CSV cannot be read: {}", message(&e)));
    let header = reader.byte_headers().map_err(unreadable)?;
    let header = columns.check(header).map_err(RegistryError::Document)?;
    let mut things = Vec::new();
    let mut record = ByteRecord::new();
    let mut row = 0;
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        row += 1;
        if row > MAX_ROWS {
            return refuse(format!("more than {MAX_ROWS} rows; split the document"));
        }
        if record.iter().any(|field| !field.is_empty()) {
            things.push(read(Fields::new(row, &header, &record)));
        }
    }
    Ok(things)
}

impl Columns {
    /// The columns in the order of the header, or everything that is wrong with it.
    fn check(&self, header: &ByteRecord) -> Result<Vec<&'static str>, String> {
        let all = || self.required.iter().chain(self.optional).copied();
        let mut columns = Vec::new();
        let mut errors = Vec::new();
        for field in header {
            let found = String::from_utf8_lossy(field);
            match all().find(|&name| name == found) {
                Some(name) if columns.contains(&name) => {
                    errors.push(format!("column `{name}` is there twice"));
                }
                Some(name) => columns.push(name),
                None => {
                    let hint = hint(&found, all()).map(|hint| format!(", {hint}"));
                    errors.push(format!(
                        "unknown column `{}`{}",
                        clip(&found),
                        hint.unwrap_or_default()
                    ));
                }
            }
        }
        for name in self.required.iter().filter(|name| !columns.contains(name)) {
            errors.push(format!("column `{name}` is missing"));
        }
        if errors.is_empty() {
            return Ok(columns);
        }
        if header.len() == 1 && header[0].iter().any(|byte| b";\t|".contains(byte)) {
            errors.insert(0, "fields are separated by commas".to_owned());
        }
        let all: Vec<_> = all().collect();
        Err(format!("the header is wrong: {}. Columns are {}", errors.join("; "), all.join(",")))
    }
}

impl<'a> Fields<'a> {
    fn new(row: usize, columns: &'a [&'static str], record: &ByteRecord) -> Self {
        let mut errors = Vec::new();
        if record.len() != columns.len() {
            errors.push(format!(
                "it has {} fields, the header has {}",
                record.len(),
                columns.len()
            ));
        }
        if record.iter().any(|field| std::str::from_utf8(field).is_err()) {
            errors.push("it is not UTF-8; save the table as \"CSV UTF-8\"".to_owned());
        }
        let record = record.iter().map(String::from_utf8_lossy).collect();
        Fields { row, columns, record, errors }
    }
}
