//! MQTT packets as the scripts write them: `key=value` words to bytes, and bytes back to the same words.

use std::fmt::Write;

use crate::support::device::{Level, field, packet};

/// Words of one packet, in the order in which they stand.
pub type Words = Vec<(String, String)>;

enum Form {
    Byte,
    Two,
    Four,
    Varint,
    Text,
    Pair,
}

/// The properties of MQTT 5 (table 2-4) by the names that the scripts give them.
const PROPERTIES: [(&str, u8, Form); 27] = [
    ("pfi", 1, Form::Byte),
    ("mexp", 2, Form::Four),
    ("ct", 3, Form::Text),
    ("rt", 8, Form::Text),
    ("cd", 9, Form::Text),
    ("sid", 11, Form::Varint),
    ("expiry", 17, Form::Four),
    ("assigned", 18, Form::Text),
    ("ska", 19, Form::Two),
    ("authm", 21, Form::Text),
    ("authd", 22, Form::Text),
    ("reqprob", 23, Form::Byte),
    ("delay", 24, Form::Four),
    ("reqresp", 25, Form::Byte),
    ("respinfo", 26, Form::Text),
    ("server", 28, Form::Text),
    ("reason", 31, Form::Text),
    ("rmax", 33, Form::Two),
    ("tamax", 34, Form::Two),
    ("alias", 35, Form::Two),
    ("maxqos", 36, Form::Byte),
    ("retainav", 37, Form::Byte),
    ("up", 38, Form::Pair),
    ("maxpkt", 39, Form::Four),
    ("wildav", 40, Form::Byte),
    ("sidav", 41, Form::Byte),
    ("shareav", 42, Form::Byte),
];

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        bytes.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return bytes;
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// The property block of the words that name properties, after `prefix`.
fn properties(words: &Words, prefix: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (key, value) in words {
        let name = key.strip_prefix(prefix).unwrap_or("");
        let Some((_, id, form)) = PROPERTIES.iter().find(|(known, ..)| *known == name) else {
            continue;
        };
        block.push(*id);
        match form {
            Form::Byte => block.push(number(value)),
            Form::Two => block.extend(number::<u16>(value).to_be_bytes()),
            Form::Four => block.extend(number::<u32>(value).to_be_bytes()),
            Form::Varint => block.extend(varint(number(value))),
            Form::Text => block.extend(field(value.as_bytes())),
            Form::Pair => {
                let (key, value) = value.split_once(':').expect("a pair");
                block.extend([field(key.as_bytes()), field(value.as_bytes())].concat());
            }
        }
    }
    [varint(block.len()), block].concat()
}

fn get<'a>(words: &'a Words, key: &str) -> Option<&'a str> {
    words.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

fn flag(words: &Words, key: &str, otherwise: bool) -> bool {
    get(words, key).map_or(otherwise, |value| value != "0")
}

fn code(words: &Words) -> Option<u8> {
    get(words, "code").map(|code| u8::from_str_radix(code, 16).expect("a code"))
}

fn packet_id(words: &Words) -> [u8; 2] {
    get(words, "id").map_or(1, number::<u16>).to_be_bytes()
}

/// CONNECT; `user` and `password` unless the words say otherwise.
fn connect(level: Level, words: &Words, user: &str, password: &str) -> Vec<u8> {
    let is_v5 = level == Level::V5;
    let will = get(words, "will").map(|will| will.split(':').collect::<Vec<_>>());
    let mut flags = 0b1100_0000 | u8::from(flag(words, "clean", true)) << 1;
    if let Some(will) = &will {
        flags |= 0b100 | number::<u8>(will[2]) << 3 | u8::from(will.len() > 3) << 5;
    }
    if let Some(all) = get(words, "flags") {
        flags = u8::from_str_radix(all, 16).expect("flags");
    }
    let mut body = field(get(words, "name").unwrap_or("MQTT").as_bytes());
    body.extend([get(words, "level").map_or(level as u8, number), flags]);
    body.extend(get(words, "ka").map_or(60, number::<u16>).to_be_bytes());
    if is_v5 {
        body.extend(properties(words, ""));
    }
    body.extend(field(get(words, "id").unwrap_or("").replace("\\0", "\0").as_bytes()));
    if let Some(will) = &will {
        if is_v5 {
            body.extend(properties(words, "w."));
        }
        body.extend([field(will[0].as_bytes()), field(will[1].as_bytes())].concat());
    }
    body.extend(field(get(words, "user").unwrap_or(user).as_bytes()));
    body.extend(field(get(words, "pass").unwrap_or(password).as_bytes()));
    packet(0x10, &body)
}

fn filters(level: Level, words: &Words, has_options: bool) -> Vec<u8> {
    let mut body = packet_id(words).to_vec();
    if level == Level::V5 {
        body.extend(properties(words, ""));
    }
    for (_, value) in words.iter().filter(|(key, _)| key == "f") {
        let (filter, options) = value.rsplit_once(':').unwrap_or((value, "0"));
        body.extend(field(filter.as_bytes()));
        if has_options {
            let bits = options.split(',').map(|option| match option {
                "nl" => 0b100,
                "rap" => 0b1000,
                "rh1" => 0b1_0000,
                "rh2" => 0b10_0000,
                bits => number(bits),
            });
            body.push(bits.fold(0, |all: u8, bits: u8| all | bits));
        }
    }
    body
}

fn publish(level: Level, words: &Words) -> Vec<u8> {
    let qos = get(words, "q").map_or(0, number::<u8>);
    let mut body = field(get(words, "t").unwrap_or("").as_bytes());
    if qos > 0 {
        body.extend(packet_id(words));
    }
    if level == Level::V5 {
        body.extend(properties(words, ""));
    }
    let payload = get(words, "p").unwrap_or("");
    match payload.strip_prefix('*').and_then(|count| count.parse::<usize>().ok()) {
        Some(count) => body.resize(body.len() + count, b'x'),
        None => body.extend(payload.as_bytes()),
    }
    let [retain, dup] = ["r", "d"].map(|key| u8::from(flag(words, key, false)));
    packet(0x30 | dup << 3 | qos << 1 | retain, &body)
}

fn answer(first: u8, level: Level, words: &Words) -> Vec<u8> {
    let mut body = packet_id(words).to_vec();
    body.extend(code(words).filter(|_| level == Level::V5));
    packet(first, &body)
}

/// The packet of a verb.
pub fn write(verb: &str, level: Level, words: &Words, user: &str, password: &str) -> Vec<u8> {
    match verb {
        "connect" => connect(level, words, user, password),
        "publish" => publish(level, words),
        "puback" => answer(0x40, level, words),
        "pubrec" => answer(0x50, level, words),
        "pubrel" => answer(0x62, level, words),
        "pubcomp" => answer(0x70, level, words),
        "subscribe" => packet(0x82, &filters(level, words, true)),
        "unsubscribe" => packet(0xA2, &filters(level, words, false)),
        "ping" => vec![0xC0, 0],
        "disconnect" => match (code(words), get(words, "expiry")) {
            (None, None) => vec![0xE0, 0],
            (code, None) => vec![0xE0, 1, code.unwrap_or(0)],
            (code, _) => packet(0xE0, &[vec![code.unwrap_or(0)], properties(words, "")].concat()),
        },
        "raw" => {
            let hex: String = words.iter().map(|(key, _)| key.as_str()).collect();
            let bytes = hex.as_bytes().chunks(2);
            bytes
                .map(|pair| std::str::from_utf8(pair).expect("hex"))
                .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
                .collect()
        }
        other => panic!("{other} is no verb"),
    }
}

/// Reads fields; what is missing reads as zero, which no expectation matches by accident.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Vec<u8> {
        let n = n.min(self.0.len());
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        taken.to_vec()
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
    }

    fn text(&mut self) -> String {
        let length = self.number(2) as usize;
        String::from_utf8_lossy(&self.take(length)).into_owned()
    }

    fn varint(&mut self) -> usize {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.number(1) as usize;
            value |= (byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    fn properties(&mut self, words: &mut Words) {
        let length = self.varint();
        let block = self.take(length);
        let mut block = Reader(&block);
        while !block.0.is_empty() {
            let id = block.number(1) as u8;
            let Some((name, _, form)) = PROPERTIES.iter().find(|(_, known, _)| *known == id) else {
                words.push(("unknown".to_owned(), id.to_string()));
                return;
            };
            let value = match form {
                Form::Byte => block.number(1).to_string(),
                Form::Two => block.number(2).to_string(),
                Form::Four => block.number(4).to_string(),
                Form::Varint => block.varint().to_string(),
                Form::Text => block.text(),
                Form::Pair => format!("{}:{}", block.text(), block.text()),
            };
            words.push(((*name).to_owned(), value));
        }
    }
}

/// What a server sent: its kind and its words.
pub fn read(bytes: &[u8], level: Level) -> (&'static str, Words) {
    let header = 2 + bytes[1..].iter().take_while(|byte| **byte & 0x80 != 0).count();
    let mut body = Reader(&bytes[header..]);
    let mut words = Words::new();
    let mut word = |key: &str, value: String| words.push((key.to_owned(), value));
    let hex = |code: u64| format!("{code:02x}");
    let is_v5 = level == Level::V5;
    let kind = match bytes[0] >> 4 {
        2 => {
            word("session", (body.number(1) & 1).to_string());
            word("code", hex(body.number(1)));
            "connack"
        }
        3 => {
            let qos = bytes[0] >> 1 & 3;
            word("q", qos.to_string());
            word("r", (bytes[0] & 1).to_string());
            word("d", (bytes[0] >> 3 & 1).to_string());
            word("t", body.text());
            if qos > 0 {
                word("id", body.number(2).to_string());
            }
            if is_v5 {
                body.properties(&mut words);
            }
            let mut payload = String::from_utf8_lossy(body.0).into_owned();
            if payload.len() > 64 {
                payload = format!("*{}", payload.len());
            }
            words.push(("p".to_owned(), payload));
            return ("publish", words);
        }
        kind @ (4..=7) => {
            word("id", body.number(2).to_string());
            word("code", hex(body.number(1)));
            ["puback", "pubrec", "pubrel", "pubcomp"][usize::from(kind) - 4]
        }
        kind @ (9 | 11) => {
            word("id", body.number(2).to_string());
            if is_v5 {
                body.properties(&mut words);
            }
            let mut codes = String::new();
            for code in body.0 {
                let _ = write!(codes, "{}{code:02x}", if codes.is_empty() { "" } else { "," });
            }
            words.push(("codes".to_owned(), codes));
            return (if kind == 9 { "suback" } else { "unsuback" }, words);
        }
        13 => "pingresp",
        14 => {
            word("code", hex(body.number(1)));
            "disconnect"
        }
        _ => "unknown",
    };
    if is_v5 && !body.0.is_empty() {
        body.properties(&mut words);
    }
    (kind, words)
}
