//! Fixtures of commands: what is given, what is asked, and what must go out or be refused.

use std::ops::Range;

use crate::profile::spanned::Spanned;

use super::command::read_hex;
use super::fixture::{find_point, state_or_number};
use crate::model::Cause;
use crate::profile::error::Problems;
use crate::profile::fixture::{Given, Sent};
use crate::profile::raw::{Maybe, RawDownlinkTest, RawTest, RawWrites};
use crate::profile::registers::RegisterWrite;
use crate::profile::{CommandSpec, Profile, Table};

/// What `refused` may say besides a cause: the rule of the profile that said no.
const RULES: [&str; 5] = ["range", "step", "max_change", "require", "health"];

/// What a fixture of a command says; `None` when it is wrong, which is noted then.
pub(super) fn compile(
    raw: &mut RawTest,
    at: &Range<usize>,
    profile: &Profile,
    problems: &mut Problems<'_>,
) -> Option<Given> {
    refuse_what_is_for_readings(raw, problems);
    let asked = raw.command.take()?;
    let place = asked.span();
    let mut asked = asked.into_inner().into_iter();
    let (Some((name, target)), None) = (asked.next(), asked.next()) else {
        problems.report(&place, "a test asks for one command, for example { set_opening = 42 }");
        return None;
    };
    let command = find_command(&name, &profile.commands, problems);
    let mut values = Vec::new();
    for (name, value) in std::mem::take(&mut raw.given) {
        let Some((index, point)) = find_point(&name, &profile.points, problems) else { continue };
        values.extend(state_or_number(&value, point, problems).map(|value| (index, value)));
    }
    let refused = raw.refused.take().map(|word| check_refusal(word, problems));
    let sent = match (raw.writes.take(), raw.downlink.take()) {
        (Some(writes), None) => compile_writes(writes, problems).map(Sent::Writes),
        (None, Some(downlink)) => compile_downlink(downlink.into_inner(), &place, problems),
        (Some(writes), Some(_)) => {
            problems.report(&writes.span(), "a command has one of `writes` and `downlink`");
            None
        }
        (None, None) if refused.is_none() => problems.require(
            None,
            at,
            "writes",
            "[{ table = \"holding\", address = 200, words = [420] }]",
        ),
        (None, None) => None,
    };
    let command = command?;
    let has_arg = profile.commands[command].arg.is_some();
    Some(Given {
        values,
        command,
        target: has_arg.then_some(*target.get_ref()),
        sent,
        refused: refused.flatten(),
        second_person: raw.two_person.take().map(Spanned::into_inner),
    })
}

fn refuse_what_is_for_readings(raw: &RawTest, problems: &mut Problems<'_>) {
    let keys = [
        ("payload", raw.payload.as_ref().map(Spanned::span)),
        ("registers", raw.registers.as_ref().map(Spanned::span)),
        ("time", raw.time.as_ref().map(Spanned::span)),
        ("error", raw.error.as_ref().map(Spanned::span)),
        ("expect", raw.expect.keys().next().map(Spanned::span)),
    ];
    for (key, at) in keys {
        if let Some(at) = at {
            let help = vec![
                "a test of a command has given, command, and writes, downlink or refused"
                    .to_owned(),
            ];
            problems.report_with(&at, format_args!("`{key}` is for what a device sends"), help);
        }
    }
}

fn find_command(
    name: &Spanned<String>,
    commands: &[CommandSpec],
    problems: &mut Problems<'_>,
) -> Option<usize> {
    let found = name.get_ref();
    let at = commands.iter().position(|command| command.name == *found);
    if at.is_none() {
        let names: Vec<&str> = commands.iter().map(|command| command.name.as_str()).collect();
        let message = format!("no command is named `{found}`");
        problems.report_choice(&name.span(), message, found, &names);
    }
    at
}

fn check_refusal(word: Spanned<String>, problems: &mut Problems<'_>) -> Option<String> {
    let causes = Cause::ALL.map(Cause::as_str);
    let allowed: Vec<&str> = RULES.into_iter().chain(causes).collect();
    if allowed.contains(&word.get_ref().as_str()) {
        return Some(word.into_inner());
    }
    let message = format!("nothing is refused for `{}`", word.get_ref());
    problems.report_choice(&word.span(), message, word.get_ref(), &allowed);
    None
}

fn compile_writes(
    raw: Spanned<Vec<RawWrites>>,
    problems: &mut Problems<'_>,
) -> Option<Vec<RegisterWrite>> {
    let at = raw.span();
    raw.into_inner().into_iter().map(|write| compile_write(write, &at, problems)).collect()
}

fn compile_write(
    raw: RawWrites,
    at: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<RegisterWrite> {
    let table = problems.require(raw.table, at, "table", "\"holding\"")?;
    let table = problems.choose(&table, "table", &Table::ALL, Table::as_str)?;
    let address = word(problems.require(raw.address, at, "address", "200"), problems)?;
    let words = problems.require(raw.words, at, "words", "[420]")?;
    let place = words.span();
    let values = words
        .into_inner()
        .into_iter()
        .map(|value| word(Some(Spanned::new(place.clone(), value)), problems))
        .collect::<Option<_>>()?;
    Some(RegisterWrite { table, address, values })
}

fn word(value: Maybe<i64>, problems: &mut Problems<'_>) -> Option<u16> {
    let value = value?;
    let word = u16::try_from(*value.get_ref());
    if word.is_err() {
        let message = format!("{} is not between 0 and 65535", value.get_ref());
        problems.report(&value.span(), message);
    }
    word.ok()
}

fn compile_downlink(
    raw: RawDownlinkTest,
    at: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<Sent> {
    let bytes = |text: &str, problems: &mut Problems<'_>| {
        let bytes = read_hex(text);
        if bytes.is_none() {
            problems.report(at, "hexadecimal digits in pairs, for example \"A5 01\"");
        }
        bytes
    };
    match raw {
        RawDownlinkTest::Payload(text) => Some(Sent::Payload(match text.strip_prefix("hex:") {
            Some(hex) => bytes(hex, problems)?,
            None => text.into_bytes(),
        })),
        RawDownlinkTest::Lorawan(raw) => {
            let port = word(problems.require(raw.port, at, "port", "10"), problems)?;
            let hex = problems.require(raw.hex, at, "hex", "\"A501\"")?;
            Some(Sent::Lorawan {
                port: u8::try_from(port).ok()?,
                bytes: bytes(hex.get_ref(), problems)?,
            })
        }
    }
}
