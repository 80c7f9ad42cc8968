//! Where a Modbus bus is reached: over TCP, or by RTU frames on a serial line or over TCP.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The quiet time after a question without an answer, at the least: it gave no wrong value in any trial.
const QUIET: Duration = Duration::from_millis(400);

/// The longest RTU frame in characters.
const LONGEST_FRAME: u32 = 256;

/// The lowest and the highest line speed in bits per second.
const BAUD: (u32, u32) = (300, 4_000_000);

/// The longest quiet time that can be asked for.
const MAX_QUIET: Duration = Duration::from_secs(60);

/// A checked endpoint, in its one spelling: two texts that mean the same are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    text: Arc<str>,
    path: Arc<str>,
    transport: Transport,
}

/// How an endpoint is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Modbus TCP at `host:port`.
    Tcp,
    /// RTU frames over TCP, to a gateway that only passes bytes on: `rtu+tcp://host:port`.
    RtuOverTcp(Line),
    /// RTU on a serial port: `rtu:///dev/ttyUSB0?baud=9600&parity=even&stop=1`.
    Rtu(Line),
}

/// A serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// Bits per second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
    /// Stop bits: 1 or 2.
    pub stop: u8,
    /// Data bits: 7 or 8. RTU needs 8; 7 is for converters that repack.
    pub data: u8,
    /// The quiet time after a question without a right answer, when it is not the usual one.
    pub quiet: Option<Duration>,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Parity {
    None,
    Even,
    Odd,
}

/// Why a text is no Modbus endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It has none of the known forms.
    #[error(
        "`{found}` is no Modbus endpoint; write host:port, for example 10.0.0.7:502 or [fd00::7]:502, \
         rtu+tcp://host:port, or rtu:///dev/ttyUSB0?baud=9600&parity=even&stop=1"
    )]
    Form {
        /// What was given.
        found: String,
    },
    /// The part after `rtu://` is no path of a serial port.
    #[error(
        "`{found}` is no serial port; write its whole path, for example rtu:///dev/ttyUSB0?baud=9600"
    )]
    Port {
        /// What was given.
        found: String,
    },
    /// A setting that this form does not have.
    #[error("`{key}` is no setting of {form}; allowed: {allowed}")]
    UnknownSetting {
        /// What was given.
        key: String,
        /// The form of the endpoint.
        form: &'static str,
        /// What may be set.
        allowed: &'static str,
    },
    /// A setting that stands there twice.
    #[error("`{key}` is set twice")]
    Twice {
        /// The setting.
        key: String,
    },
    /// A setting with a value that it cannot have.
    #[error("{key} = `{found}`: {expected}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What was given.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl Endpoint {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What two endpoints cannot share: the `host:port`, or the path of the serial port.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How it is reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The line behind it, when RTU frames run on it.
    pub fn line(&self) -> Option<Line> {
        match self.transport {
            Transport::Tcp => None,
            Transport::RtuOverTcp(line) | Transport::Rtu(line) => Some(line),
        }
    }

    /// Whether units of this number can be asked there. On a serial line 0 is everybody, whom nobody answers for, and
    /// 248 to 255 are reserved.
    pub fn takes_unit(&self, unit: u8) -> bool {
        match self.transport {
            Transport::Tcp => unit <= 247 || unit == 255,
            Transport::RtuOverTcp(_) | Transport::Rtu(_) => (1..=247).contains(&unit),
        }
    }
}

impl Line {
    /// The time of so many characters: start bit, data, parity and stop bits.
    pub fn time_of(&self, characters: u32) -> Duration {
        let parity = u32::from(self.parity != Parity::None);
        let bits = 1 + u32::from(self.data) + parity + u32::from(self.stop);
        Duration::from_secs(1).mul_f64(f64::from(characters * bits) / f64::from(self.baud))
    }

    /// The silence that ends a frame: 3.5 characters, and above 19 200 bit/s the 1.75 ms of the specification.
    pub fn frame_gap(&self) -> Duration {
        if self.baud > 19_200 { Duration::from_micros(1_750) } else { self.time_of(7) / 2 }
    }

    /// How long nothing is asked after a question without a right answer, so that whatever is still on its way has
    /// arrived: 400 ms or half the timeout, and the longest frame. A slow line and a slow device need more.
    pub fn quiet_after(&self, timeout: Duration) -> Duration {
        self.quiet.unwrap_or_else(|| QUIET.max(timeout / 2) + self.time_of(LONGEST_FRAME))
    }
}

impl Parity {
    /// Its spelling in an endpoint.
    pub fn as_str(self) -> &'static str {
        match self {
            Parity::None => "none",
            Parity::Even => "even",
            Parity::Odd => "odd",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(rest) = text.strip_prefix("rtu+tcp://") {
            let (path, settings) = rest.split_once('?').unwrap_or((rest, ""));
            let path = host_and_port(path).ok_or_else(|| form(text))?;
            // Only what the waits are made of; the gateway knows the rest.
            let line = Line::parse(settings, "rtu+tcp", "baud, quiet")?;
            return Ok(Endpoint::new(&path, Transport::RtuOverTcp(line)));
        }
        if let Some(rest) = text.strip_prefix("rtu://") {
            let (path, settings) = rest.split_once('?').unwrap_or((rest, ""));
            if !is_port_path(path) {
                return Err(EndpointError::Port { found: clip(path) });
            }
            let line = Line::parse(settings, "rtu", "baud, parity, stop, data, quiet")?;
            return Ok(Endpoint::new(path, Transport::Rtu(line)));
        }
        let path = text.strip_prefix("tcp://").unwrap_or(text);
        let path = host_and_port(path).ok_or_else(|| form(text))?;
        Ok(Endpoint::new(&path, Transport::Tcp))
    }
}

impl Endpoint {
    fn new(path: &str, transport: Transport) -> Self {
        let quiet = |line: Line| match line.quiet {
            Some(quiet) => format!("&quiet={}ms", quiet.as_millis()),
            None => String::new(),
        };
        let text = match transport {
            Transport::Tcp => path.to_owned(),
            Transport::RtuOverTcp(line) => {
                format!("rtu+tcp://{path}?baud={}{}", line.baud, quiet(line))
            }
            Transport::Rtu(line) => {
                let Line { baud, parity, stop, data, .. } = line;
                let parity = parity.as_str();
                let quiet = quiet(line);
                format!("rtu://{path}?baud={baud}&parity={parity}&stop={stop}&data={data}{quiet}")
            }
        };
        Endpoint { text: text.into(), path: path.into(), transport }
    }
}

impl Line {
    /// What most field devices are delivered with.
    const USUAL: Line = Line { baud: 9_600, parity: Parity::None, stop: 1, data: 8, quiet: None };

    fn parse(
        settings: &str,
        form: &'static str,
        allowed: &'static str,
    ) -> Result<Self, EndpointError> {
        let mut line = Line::USUAL;
        let mut seen = Vec::new();
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            if !allowed.split(", ").any(|known| known == key) {
                return Err(EndpointError::UnknownSetting { key: clip(key), form, allowed });
            }
            if seen.contains(&key) {
                return Err(EndpointError::Twice { key: key.to_owned() });
            }
            seen.push(key);
            line.set(key, value)?;
        }
        Ok(line)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), EndpointError> {
        let wrong = |key, expected| EndpointError::Setting { key, found: clip(value), expected };
        match key {
            "baud" => {
                let baud = value.parse().ok().filter(|baud| (BAUD.0..=BAUD.1).contains(baud));
                let expected = "write bits per second from 300 to 4000000, for example 9600";
                self.baud = baud.ok_or_else(|| wrong("baud", expected))?;
            }
            "parity" => {
                let all = [Parity::None, Parity::Even, Parity::Odd];
                let parity = all.into_iter().find(|parity| parity.as_str() == value);
                self.parity = parity.ok_or_else(|| wrong("parity", "write none, even or odd"))?;
            }
            "stop" => {
                self.stop = one_of(value, [1, 2]).ok_or_else(|| wrong("stop", "write 1 or 2"))?
            }
            "data" => {
                self.data = one_of(value, [7, 8]).ok_or_else(|| wrong("data", "write 7 or 8"))?
            }
            _ => {
                let number = value.strip_suffix("ms").and_then(|number| number.parse().ok());
                let quiet = number.map(Duration::from_millis).filter(|quiet| *quiet <= MAX_QUIET);
                let expected = "write milliseconds up to 60000ms, for example 400ms";
                self.quiet = Some(quiet.ok_or_else(|| wrong("quiet", expected))?);
            }
        }
        Ok(())
    }
}

fn one_of(text: &str, allowed: [u8; 2]) -> Option<u8> {
    text.parse().ok().filter(|number| allowed.contains(number))
}

/// The `host:port` in lower case, if it is one.
fn host_and_port(text: &str) -> Option<String> {
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let (host, port) = text.rsplit_once(':')?;
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= 253 && host.chars().all(is_host_char),
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    (is_host && is_port).then(|| text.to_ascii_lowercase())
}

/// Whether a text is the path of a serial port: whole, and of the letters that such names have.
fn is_port_path(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_-.:+@".contains(c);
    text.starts_with('/')
        && (2..=255).contains(&text.len())
        && text.chars().all(allowed)
        && !text.split('/').any(|part| part == "..")
}

fn form(text: &str) -> EndpointError {
    EndpointError::Form { found: clip(text) }
}

/// What is repeated to people of what they wrote.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!(endpoint.as_str(), expected);
        assert_eq!(expected.parse::<Endpoint>().unwrap(), endpoint, "its own spelling is the same");
    }

    fn refuse(text: &str, expected: &str) {
        let message = text.parse::<Endpoint>().unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }

    #[test]
    fn every_form_has_one_spelling() {
        check("10.0.0.7:502", "10.0.0.7:502");
        check("tcp://PLC-3.town.example:1502", "plc-3.town.example:1502");
        check("[fd00::7]:502", "[fd00::7]:502");
        check("rtu+tcp://Gw.example:4001", "rtu+tcp://gw.example:4001?baud=9600");
        check(
            "rtu+tcp://gw:4001?quiet=250ms&baud=19200",
            "rtu+tcp://gw:4001?baud=19200&quiet=250ms",
        );
        check("rtu:///dev/ttyUSB0", "rtu:///dev/ttyUSB0?baud=9600&parity=none&stop=1&data=8");
        check(
            "rtu:///dev/ttyS1?stop=2&parity=even&baud=19200",
            "rtu:///dev/ttyS1?baud=19200&parity=even&stop=2&data=8",
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for bad in
            ["", "plc", "plc:", "plc:0", "plc:65536", ":502", "fd00::7:502", "[x]:502", "a b:1"]
        {
            refuse(bad, "host:port");
        }
        refuse("rtu+tcp://gw", "rtu+tcp://host:port");
        refuse("rtu://ttyUSB0", "whole path");
        refuse("rtu:///dev/../etc/x", "whole path");
        refuse("rtu:///dev/ttyS0?baud=fast", "from 300 to 4000000");
        refuse("rtu:///dev/ttyS0?baud=100", "from 300 to 4000000");
        refuse("rtu:///dev/ttyS0?parity=mark", "none, even or odd");
        refuse("rtu:///dev/ttyS0?stop=3", "1 or 2");
        refuse("rtu:///dev/ttyS0?data=9", "7 or 8");
        refuse("rtu:///dev/ttyS0?quiet=1", "milliseconds");
        refuse("rtu:///dev/ttyS0?baud=9600&baud=19200", "twice");
        refuse("rtu:///dev/ttyS0?speed=9600", "allowed: baud, parity, stop, data, quiet");
        refuse("rtu+tcp://gw:1?parity=even", "allowed: baud, quiet");
    }

    #[test]
    fn waits_follow_the_line() {
        let line = |text: &str| text.parse::<Endpoint>().unwrap().line().unwrap();
        let slow = line("rtu:///dev/ttyS0?baud=1200&parity=even");
        let fast = line("rtu:///dev/ttyS0?baud=115200&parity=even");
        let second = Duration::from_secs(1);
        assert_eq!(slow.time_of(1_200), 11 * second);
        assert!(slow.frame_gap() > Duration::from_millis(30));
        assert_eq!(fast.frame_gap(), Duration::from_micros(1_750));
        assert!(slow.quiet_after(second) > 2 * second);
        assert!(fast.quiet_after(second) < second * 6 / 10);
        assert!(fast.quiet_after(4 * second) > 2 * second);
        let set = line("rtu+tcp://gw:1?quiet=50ms");
        assert_eq!(set.quiet_after(second), Duration::from_millis(50));
    }

    #[test]
    fn a_serial_line_has_247_units() {
        let takes = |text: &str, unit| text.parse::<Endpoint>().unwrap().takes_unit(unit);
        assert!(takes("h:502", 0) && takes("h:502", 255) && !takes("h:502", 248));
        assert!(takes("rtu:///dev/ttyS0", 1) && takes("rtu+tcp://h:1", 247));
        assert!(!takes("rtu:///dev/ttyS0", 0) && !takes("rtu+tcp://h:1", 255));
    }
}
