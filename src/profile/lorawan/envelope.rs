//! Envelopes: how network servers hand on a frame. ChirpStack 4 and The Things Stack 3, as they publish over MQTT.
//!
//! Only what the hub needs is read; whatever else a server says, or a later version of it will say, is skipped.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::json;

use crate::model::Timestamp;
use crate::profile::DecodeError;

/// Padded or not: servers differ, and the bytes are the same.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who wrapped the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeKind {
    /// ChirpStack 4, JSON marshaler.
    Chirpstack,
    /// The Things Stack 3, MQTT server.
    Tts,
    /// Nobody: the payload is the frame.
    Raw,
}

/// An envelope, opened.
#[derive(Debug, PartialEq)]
pub(super) struct Opened {
    /// The device's DevEUI.
    pub(super) device: String,
    pub(super) port: u8,
    pub(super) frame: Vec<u8>,
    /// When the network received it.
    pub(super) time: Option<Timestamp>,
    /// What the network says of its way, as a JSON object.
    pub(super) radio: String,
}

/// All that either server may say. Which of them wrote it shows by what is there.
#[derive(Deserialize)]
struct Uplink {
    #[serde(rename = "deviceInfo")]
    device_info: Option<DeviceInfo>,
    time: Option<String>,
    #[serde(rename = "fPort")]
    port: Option<u8>,
    #[serde(rename = "fCnt")]
    count: Option<u32>,
    dr: Option<u8>,
    data: Option<String>,
    #[serde(rename = "rxInfo", default)]
    rx: Vec<Reception>,
    end_device_ids: Option<EndDeviceIds>,
    received_at: Option<String>,
    uplink_message: Option<UplinkMessage>,
}

#[derive(Deserialize)]
struct DeviceInfo {
    #[serde(rename = "devEui")]
    dev_eui: String,
}

#[derive(Deserialize)]
struct EndDeviceIds {
    dev_eui: Option<String>,
}

#[derive(Deserialize)]
struct UplinkMessage {
    f_port: Option<u8>,
    f_cnt: Option<u32>,
    frm_payload: Option<String>,
    received_at: Option<String>,
    #[serde(default)]
    rx_metadata: Vec<Reception>,
}

/// What one radio gateway heard.
#[derive(Deserialize)]
struct Reception {
    rssi: Option<f64>,
    snr: Option<f64>,
}

impl EnvelopeKind {
    /// Every kind.
    pub const ALL: [EnvelopeKind; 3] =
        [EnvelopeKind::Chirpstack, EnvelopeKind::Tts, EnvelopeKind::Raw];

    /// The kind's spelling in profiles.
    pub fn as_str(self) -> &'static str {
        match self {
            EnvelopeKind::Chirpstack => "chirpstack",
            EnvelopeKind::Tts => "tts",
            EnvelopeKind::Raw => "raw",
        }
    }
}

/// Opens an envelope of this kind; `None` knows both servers' by what is in it.
pub(super) fn open(payload: &[u8], kind: Option<EnvelopeKind>) -> Result<Opened, DecodeError> {
    let uplink: Uplink = serde_json::from_slice(payload).map_err(|error| {
        // A body that is JSON but not of this shape is another server's, not a broken one.
        if error.is_data() { unknown(kind) } else { DecodeError::NotJson(error.to_string()) }
    })?;
    match uplink {
        Uplink { device_info: Some(device), .. } if kind != Some(EnvelopeKind::Tts) => {
            let Uplink { time, port, count, dr, data, rx, .. } = uplink;
            let radio = radio(&rx, count, dr);
            opened(&device.dev_eui, port, data, time, radio)
        }
        Uplink { end_device_ids: Some(ids), received_at, uplink_message, .. }
            if kind != Some(EnvelopeKind::Chirpstack) =>
        {
            let Some(message) = uplink_message else { return Err(DecodeError::NoFrame) };
            let device = ids.dev_eui.ok_or(DecodeError::NoEnvelope { expected: TTS })?;
            let radio = radio(&message.rx_metadata, message.f_cnt, None);
            let time = message.received_at.or(received_at);
            opened(&device, message.f_port, message.frm_payload, time, radio)
        }
        _ => Err(unknown(kind)),
    }
}

const CHIRPSTACK: &str = "ChirpStack's (deviceInfo.devEui, fPort, data)";
const TTS: &str = "The Things Stack's (end_device_ids.dev_eui, uplink_message)";
const BOTH: &str = "ChirpStack's (deviceInfo.devEui, fPort, data) or The Things Stack's (end_device_ids.dev_eui, uplink_message)";

fn unknown(kind: Option<EnvelopeKind>) -> DecodeError {
    let expected = match kind {
        Some(EnvelopeKind::Chirpstack) => CHIRPSTACK,
        Some(EnvelopeKind::Tts) => TTS,
        _ => BOTH,
    };
    DecodeError::NoEnvelope { expected }
}

/// An uplink without a frame of the application's (port 0 is the network's own) says nothing: joins, statuses and
/// acknowledgements that come on the uplink's topic are of this kind too.
fn opened(
    device: &str,
    port: Option<u8>,
    data: Option<String>,
    time: Option<String>,
    radio: String,
) -> Result<Opened, DecodeError> {
    let (Some(port @ 1..), Some(data)) = (port, data.filter(|data| !data.is_empty())) else {
        return Err(DecodeError::NoFrame);
    };
    let frame = BASE64.decode(data).map_err(|error| DecodeError::NoBase64(error.to_string()))?;
    // A time that cannot be read costs no reading: the hub's own stands.
    let time = time.and_then(|time| time.parse().ok());
    Ok(Opened { device: device.to_ascii_lowercase(), port, frame, time, radio })
}

/// What the best of the gateways heard, and how many did.
fn radio(all: &[Reception], f_cnt: Option<u32>, dr: Option<u8>) -> String {
    let strength = |reception: &&Reception| reception.rssi.unwrap_or(f64::MIN);
    let best = all.iter().max_by(|a, b| strength(a).total_cmp(&strength(b)));
    let mut radio = serde_json::Map::new();
    let values = [
        ("rssi", best.and_then(|best| best.rssi).map(|rssi| json!(rssi))),
        ("snr", best.and_then(|best| best.snr).map(|snr| json!(snr))),
        ("f_cnt", f_cnt.map(|f_cnt| json!(f_cnt))),
        ("dr", dr.map(|dr| json!(dr))),
        ("gateways", Some(json!(all.len()))),
    ];
    radio.extend(values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    serde_json::Value::Object(radio).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHIRPSTACK_UP: &str = r#"{"deduplicationId":"3ac7e3c4","time":"2026-09-21T14:13:20.5+00:00",
        "deviceInfo":{"tenantId":"52f14cd4","applicationName":"sewer","deviceName":"mh","devEui":"70B3D57ED0001234","tags":{"a":"b"}},
        "devAddr":"00189440","adr":true,"dr":5,"fCnt":42,"fPort":2,"confirmed":false,"data":"AQzkANc=","object":{"x":1},
        "rxInfo":[{"gatewayId":"a","rssi":-110,"snr":-3.5,"context":"x"},{"gatewayId":"b","rssi":-82,"snr":7.2}],
        "txInfo":{"frequency":868100000}}"#;
    const TTS_UP: &str = r#"{"end_device_ids":{"device_id":"mh","application_ids":{"application_id":"sewer"},"dev_eui":"70B3D57ED0001234","dev_addr":"00189440"},
        "correlation_ids":["as:up:01"],"received_at":"2026-09-21T14:13:21.1Z","uplink_message":{"f_port":2,"f_cnt":42,"frm_payload":"AQzkANc=",
        "decoded_payload":{},"rx_metadata":[{"gateway_ids":{"gateway_id":"a"},"rssi":-82,"channel_rssi":-82,"snr":7.2,"location":{}}],
        "settings":{"data_rate":{"lora":{"bandwidth":125000}}},"received_at":"2026-09-21T14:13:20.5Z"}}"#;

    #[test]
    fn both_servers_say_the_same() {
        let expected = |radio: &str| Opened {
            device: "70b3d57ed0001234".to_owned(),
            port: 2,
            frame: vec![1, 0x0C, 0xE4, 0, 0xD7],
            time: Some(Timestamp::from_millis(1_790_000_000_500)),
            radio: radio.to_owned(),
        };
        let chirpstack = r#"{"dr":5,"f_cnt":42,"gateways":2,"rssi":-82.0,"snr":7.2}"#;
        let tts = r#"{"f_cnt":42,"gateways":1,"rssi":-82.0,"snr":7.2}"#;
        let open = |text: &str, kind| super::open(text.as_bytes(), kind);
        assert_eq!(open(CHIRPSTACK_UP, None), Ok(expected(chirpstack)));
        assert_eq!(open(CHIRPSTACK_UP, Some(EnvelopeKind::Chirpstack)), Ok(expected(chirpstack)));
        assert_eq!(open(TTS_UP, None), Ok(expected(tts)));
        assert_eq!(open(TTS_UP, Some(EnvelopeKind::Tts)), Ok(expected(tts)));
        assert!(open(TTS_UP, Some(EnvelopeKind::Chirpstack)).is_err());
        assert!(open(CHIRPSTACK_UP, Some(EnvelopeKind::Tts)).is_err());
    }

    #[track_caller]
    fn check(payload: &str, reason: &str, words: &str) {
        let error = open(payload.as_bytes(), None).expect_err(payload);
        assert_eq!(error.reason(), reason, "{payload}: {error}");
        assert!(error.to_string().contains(words), "{payload}: {error}");
    }

    #[test]
    fn what_is_no_uplink_says_so() {
        // Join, status and acknowledgement of ChirpStack; an uplink that only carries the network's own.
        check(r#"{"deviceInfo":{"devEui":"70b3"},"devAddr":"00189440"}"#, "no_frame", "no frame");
        check(r#"{"deviceInfo":{"devEui":"70b3"},"margin":10}"#, "no_frame", "");
        check(
            r#"{"deviceInfo":{"devEui":"70b3"},"acknowledged":true,"fCntDown":1}"#,
            "no_frame",
            "",
        );
        check(r#"{"deviceInfo":{"devEui":"70b3"},"fPort":0,"data":"AQ=="}"#, "no_frame", "");
        check(r#"{"deviceInfo":{"devEui":"70b3"},"fPort":2,"data":""}"#, "no_frame", "");
        check(r#"{"end_device_ids":{"dev_eui":"70b3"},"join_accept":{}}"#, "no_frame", "");
        check(r#"{"end_device_ids":{},"uplink_message":{}}"#, "no_envelope", "dev_eui");
        check(r#"{"level":3}"#, "no_envelope", "ChirpStack's");
        check("[]", "no_envelope", "The Things Stack's");
        check(r#"{"deviceInfo":{"devEui":"70b3"},"fPort":2,"data":"*"}"#, "no_base64", "base64");
        check(r#"{"deviceInfo":{"devEui":"70b3"},"fPort":300,"data":"AQ=="}"#, "no_envelope", "");
        check("{", "not_json", "");
    }
}
