//! Hostile packets, through everything of the door that reads bytes before it knows who sent them.

use super::codec;
use super::frame::{self, Fields, PacketType, Version};
use super::publish::Publish;
use super::strict;
use crate::fuzz::{Fuzz, corpus, outcome};

/// What a session does with its buffer: frame after frame, until one is refused or not whole.
fn read(mut buffer: &[u8], version: Version) -> Vec<String> {
    let mut said = Vec::new();
    while said.len() < 16 {
        let frame = match frame::next(buffer, 4_096) {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(why) => {
                said.push(format!("{why:?}"));
                break;
            }
        };
        if let Err(why) = strict::check(&frame, version) {
            said.push(format!("{why:?}"));
            break;
        }
        said.push(match frame.kind {
            PacketType::Connect => match codec::hello(&frame) {
                Ok(hello) => format!("{:?} {:?}", hello.version, hello.will.is_some()),
                Err(why) => format!("{why:?}"),
            },
            PacketType::Publish => format!("{:?}", Publish::read(&frame, version).map(|p| p.qos)),
            PacketType::Subscribe | PacketType::Unsubscribe | PacketType::Disconnect => {
                format!("{:?}", codec::request(&frame, version).map(|_| ()))
            }
            kind => format!("{kind:?} {:?}", Fields(frame.body).0.len().min(3)),
        });
        buffer = &buffer[frame.whole.len()..];
    }
    said
}

#[test]
fn packets() {
    let seeds = corpus("mqtt");
    let fuzz = Fuzz { name: "mqtt", usual: 20_000, thorough: 2_000_000, seeds, most_bytes: 4_096 };
    fuzz.run(|bytes| outcome(&[Version::V4, Version::V5].map(|version| read(bytes, version))));
}
