//! LoRaWAN: a network server's envelope around a frame that only the device's own codec can read.
//!
//! Decoding has three steps, because a codec runs in another process and so takes time: [`LorawanSource::job`] opens the
//! envelope, [`Codecs::call`](crate::codec::Codecs::call) runs the codec, and [`LorawanSource::finish`] reads the points
//! from what it answered. The first and the last are quick and do no I/O.
//!
//! What the network knows of the frame's way is an object `rx` beside the codec's values, so that points can be read from
//! `/rx/rssi`, `/rx/snr`, `/rx/f_cnt`, `/rx/dr` and `/rx/gateways`.

mod envelope;

use std::sync::Arc;

use super::decode::{DecodeError, Decoded, DeviceTime};
use super::json::JsonDecoder;
use super::topic::TopicTemplate;
use crate::codec::{Answer, Codec, Function, Job, Outcome};
use crate::model::Timestamp;

pub use envelope::EnvelopeKind;

/// Where ChirpStack and The Things Stack publish uplinks: the topics of a profile that names none.
pub(super) const TOPICS: [&str; 2] =
    ["application/{application}/device/{device}/event/up", "v3/{application}/devices/{device}/up"];

/// How a LoRaWAN device's frames are read and written.
#[derive(Debug)]
pub struct LorawanSource {
    /// Where its network publishes its uplinks, besides `devices/{device}/telemetry`.
    pub topics: Vec<TopicTemplate>,
    /// The ports that carry readings; empty for all.
    pub ports: Vec<u8>,
    /// How frames are wrapped; `None` for either network server, seen by what is in the message.
    pub envelope: Option<EnvelopeKind>,
    /// Its codec.
    pub codec: Arc<Codec>,
    pub(super) decoder: JsonDecoder,
    /// Where the codec's values hold a list of more reports.
    pub(super) each: Option<String>,
    /// Whether a point is read from `/rx`.
    pub(super) reads_radio: bool,
}

impl LorawanSource {
    /// Opens an uplink; what to ask the codec.
    ///
    /// # Errors
    /// When it is no uplink, carries no frame, or one of a port that the profile does not read.
    pub fn job(&self, payload: &[u8], received_at: Timestamp) -> Result<Job, DecodeError> {
        if self.envelope == Some(EnvelopeKind::Raw) {
            return self.frame(self.default_port(), payload, received_at);
        }
        let opened = envelope::open(payload, self.envelope)?;
        let job = self.frame(opened.port, &opened.frame, opened.time.unwrap_or(received_at))?;
        Ok(Job {
            device: Some(opened.device.into()),
            is_timed: opened.time.is_some(),
            radio: opened.radio.into(),
            ..job
        })
    }

    /// As [`LorawanSource::job`] for a frame without an envelope.
    ///
    /// # Errors
    /// When the profile does not read this port.
    pub fn frame(&self, port: u8, frame: &[u8], at: Timestamp) -> Result<Job, DecodeError> {
        if !self.ports.is_empty() && !self.ports.contains(&port) {
            let ports = self.ports.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
            return Err(DecodeError::OtherPort { port, expected: ports });
        }
        Ok(self.call(Function::DecodeUplink, port, frame.into(), at))
    }

    /// What to ask the codec to see whether it can be asked at all.
    pub fn empty(&self, at: Timestamp) -> Job {
        self.call(Function::DecodeUplink, self.default_port(), [].into(), at)
    }

    /// What to ask the codec for a downlink of these values; its answer is a frame.
    pub fn downlink(&self, port: u8, data: &serde_json::Value, at: Timestamp) -> Job {
        self.call(Function::EncodeDownlink, port, data.to_string().into_bytes().into(), at)
    }

    /// Reads the points from what the codec answered to a job of [`LorawanSource::job`], into `out` (cleared first).
    ///
    /// # Errors
    /// When the codec has no answer, or one without any of the profile's points.
    pub fn finish(
        &self,
        job: &Job,
        outcome: Outcome,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        out.clear();
        let result = match outcome? {
            Answer::Data { json, .. } => self.read(job, json, out),
            Answer::Frame { .. } => Err(DecodeError::NoPoint),
        };
        if result.is_err() {
            out.clear();
        }
        result
    }

    fn call(&self, function: Function, port: u8, input: Arc<[u8]>, at: Timestamp) -> Job {
        Job {
            codec: Arc::clone(&self.codec),
            function,
            port,
            at,
            input,
            device: None,
            is_timed: false,
            radio: "".into(),
        }
    }

    fn default_port(&self) -> u8 {
        self.ports.first().copied().unwrap_or(1)
    }

    fn read(&self, job: &Job, mut json: String, out: &mut Decoded) -> Result<(), DecodeError> {
        let mut one = Decoded::default();
        let mut found = self.list(&json)?.into_iter().try_fold(0, |count, element| {
            self.read_one(job, element.as_bytes(), &mut one, out).map(|()| count + 1)
        })?;
        if self.reads_radio && !job.radio.is_empty() && json.ends_with('}') {
            let comma = if json == "{}" { "" } else { "," };
            json.truncate(json.len() - 1);
            json.push_str(&format!("{comma}\"rx\":{}}}", job.radio));
        }
        // The newest last: what is now is said by the frame itself, its list holds what was before.
        match self.read_one(job, json.as_bytes(), &mut one, out) {
            Err(DecodeError::NoPoint) if found > 0 => {}
            result => {
                result?;
                found += 1;
            }
        }
        if found > 0 { Ok(()) } else { Err(DecodeError::NoPoint) }
    }

    /// The elements of the list of reports, each as JSON.
    fn list(&self, json: &str) -> Result<Vec<String>, DecodeError> {
        let Some(pointer) = &self.each else { return Ok(Vec::new()) };
        let document: serde_json::Value =
            serde_json::from_str(json).map_err(|error| DecodeError::NotJson(error.to_string()))?;
        match document.pointer(pointer) {
            None | Some(serde_json::Value::Null) => Ok(Vec::new()),
            Some(serde_json::Value::Array(all)) => {
                Ok(all.iter().map(serde_json::Value::to_string).collect())
            }
            Some(_) => Err(DecodeError::WrongType {
                path: pointer.clone(),
                found: "no list".to_owned(),
                states: None,
            }),
        }
    }

    fn read_one(
        &self,
        job: &Job,
        json: &[u8],
        one: &mut Decoded,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        self.decoder.decode(json, one)?;
        for (report, readings) in one.reports() {
            let time = match report.time {
                DeviceTime::Unsaid if job.is_timed => DeviceTime::At(job.at),
                time => time,
            };
            out.begin(job.device.as_deref(), time);
            readings.iter().for_each(|reading| out.push(*reading));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
