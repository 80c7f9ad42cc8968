//! Commands: whether what they ask for can be asked, told and seen.

use std::ops::Range;
use std::time::Duration;

use crate::profile::spanned::Spanned;

use super::point::is_word;
use super::read_duration;
use super::register::{Bus, compile_target};
use super::source::Wiring;
use crate::model::{Cause, Label, PointIndex, Role};
use crate::profile::command::{
    Arg, ByteOrder, CommandSpec, Condition, Confirm, Goal, NAMES, Order, Outgoing, Readback,
    SiteValue,
};
use crate::profile::error::Problems;
use crate::profile::expr::{self, Expr, Kind, Scope};
use crate::profile::raw::{
    Maybe, Named, RawArg, RawCommand, RawCondition, RawConditions, RawConfirm, RawReadback,
    RawSite, RawValue, RawWrite,
};
use crate::profile::registers::{NumberType, RegisterKind, WordOrder};
use crate::profile::{Point, unit};

/// How old a value may be that a condition rests on (`domain.md`, section 3).
const FRESH: Duration = Duration::from_secs(60);

/// How late a sleeping device may take its order.
const DELIVER: Duration = Duration::from_secs(10 * 60);

/// How often the confirming point is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The link counts as lost after this.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// What a command is compiled against.
pub(super) struct Around<'a> {
    pub(super) points: &'a [Point],
    pub(super) wiring: &'a Wiring,
}

/// Compiles the commands in the order of the file; those with problems are left out.
pub(super) fn compile_all(
    raw: Named<RawCommand>,
    around: &Around<'_>,
    problems: &mut Problems<'_>,
) -> Vec<CommandSpec> {
    let mut raw: Vec<_> = raw.into_iter().collect();
    raw.sort_by_key(|(name, _)| name.span().start);
    let stops: Vec<(String, bool, Option<Spanned<String>>)> = raw
        .iter()
        .map(|(name, command)| {
            let is_stop = command.emergency.as_ref().is_some_and(|flag| *flag.get_ref());
            (name.get_ref().clone(), is_stop, command.stop.clone())
        })
        .collect();
    for stop in stops.iter().filter_map(|(_, _, stop)| stop.as_ref()) {
        check_stop(stop, &stops, problems);
    }
    raw.into_iter()
        .filter_map(|(name, command)| compile(&name, command, around, problems))
        .collect()
}

fn check_stop(
    stop: &Spanned<String>,
    commands: &[(String, bool, Option<Spanned<String>>)],
    problems: &mut Problems<'_>,
) {
    let found = stop.get_ref();
    match commands.iter().find(|(name, ..)| name == found) {
        Some((_, true, _)) => {}
        Some(_) => {
            let help = vec![format!("say emergency = true in [commands.{found}]")];
            problems.report_with(
                &stop.span(),
                format_args!("`{found}` is no emergency command"),
                help,
            );
        }
        None => {
            let names: Vec<&str> =
                commands.iter().filter(|(_, e, _)| *e).map(|(name, ..)| name.as_str()).collect();
            let message = format!("no command is named `{found}`");
            problems.report_choice(&stop.span(), message, found, &names);
        }
    }
}

fn compile(
    name: &Spanned<String>,
    raw: RawCommand,
    around: &Around<'_>,
    problems: &mut Problems<'_>,
) -> Option<CommandSpec> {
    let at = name.span();
    if !is_word(name.get_ref()) {
        let message = format!("`{}` cannot name a command; {}", name.get_ref(), super::point::WORD);
        problems.report(&at, message);
    }
    let label =
        problems.require(raw.label, &at, "label", "{ zh = \"调节开度\", en = \"Move gate\" }");
    let role = problems.require(raw.role, &at, "role", "\"operator\"");
    let role = role.and_then(|r| problems.choose(&r, "role", &Role::ALL, Role::as_str));
    let arg = raw.arg.map(|arg| compile_arg(arg, around, problems));
    let site: Vec<SiteValue> =
        raw.site.into_iter().filter_map(|(name, raw)| compile_site(name, raw, problems)).collect();
    let unit = arg.as_ref().map(|arg| arg.as_ref().map_or("1", |arg| arg.unit.as_str()).to_owned());
    let scope = Formulas { around, unit: unit.clone(), site: &site };
    let require = scope.conditions(raw.require, Cause::BlockedByInterlocking, problems);
    let two_person = scope.conditions(raw.two_person, Cause::NoAccessAuthority, problems);
    let watch = match raw.watch {
        Some(watch) => scope.conditions(Some(watch), Cause::AbortionByTrip, problems),
        // What must hold of the device alone before it starts must hold until it is there.
        None => require.iter().filter(|condition| !condition.needs_target).cloned().collect(),
    };
    let readback =
        raw.readback.and_then(|r| compile_readback(r, unit.as_deref(), around, problems));
    let order = match (raw.write, raw.downlink) {
        (None, Some(downlink)) => compile_downlink(downlink, problems),
        (Some(write), None) => {
            compile_order(write, arg.as_ref().and_then(Option::as_ref), around, problems)
        }
        (Some(write), Some(_)) => {
            problems.report(&write.span(), "a command has one of `write` and `downlink`");
            None
        }
        (None, None) if around.wiring.is_mqtt() => Some(Order::Json),
        (None, None) => problems.require(
            None,
            &at,
            "write",
            "{ table = \"holding\", address = 200, type = \"u16\" }",
        ),
    };
    let is_radio = matches!(order, Some(Order::Lorawan { .. }));
    let confirm = match raw.confirm {
        None if is_radio => None,
        None => problems.require(
            None,
            &at,
            "confirm",
            "{ point = \"opening\", tolerance = 1.0, within = \"180s\" }",
        ),
        Some(confirm) => scope.confirm(confirm, unit.as_deref(), problems),
    };
    let fresh = read_duration(raw.fresh, problems).map_or(FRESH, Spanned::into_inner);
    let deliver = read_duration(raw.deliver_within, problems).map_or(DELIVER, Spanned::into_inner);
    let spec = CommandSpec {
        name: name.get_ref().clone(),
        label: label?.into_inner().0,
        arg: match arg {
            Some(arg) => Some(arg?),
            None => None,
        },
        order: order?,
        require,
        watch,
        two_person,
        site,
        readback,
        confirm,
        role: role?,
        fresh,
        deliver,
        emergency: raw.emergency.is_some_and(Spanned::into_inner),
        stop: raw.stop.map(Spanned::into_inner),
    };
    check_range_fits(&spec, &at, problems);
    Some(spec)
}

/// Both ends of the range must fit what is written.
fn check_range_fits(spec: &CommandSpec, at: &Range<usize>, problems: &mut Problems<'_>) {
    let ends =
        spec.arg.as_ref().map_or(vec![None], |arg| vec![Some(arg.range.0), Some(arg.range.1)]);
    for end in ends {
        let fits = match spec.outgoing(0, end) {
            Some(Outgoing::Writes(writes)) => !writes.is_empty(),
            Some(_) => true,
            None => false,
        };
        if !fits {
            let what = end.map_or("its value".to_owned(), |end| format!("the target {end}"));
            let message = format!("`{}`: {what} does not fit what is written", spec.name);
            let help =
                vec!["look at `type`, `scale` and `offset` of `write`, and at `range`".to_owned()];
            problems.report_with(at, message, help);
        }
    }
}

fn compile_arg(
    raw: Spanned<RawArg>,
    around: &Around<'_>,
    problems: &mut Problems<'_>,
) -> Option<Arg> {
    let at = raw.span();
    let raw = raw.into_inner();
    let from = raw.from.as_ref().map(|from| find_point(from, around.points, problems));
    let unit = problems.require(raw.unit, &at, "unit", "\"%\"")?;
    check_unit(&unit, problems);
    if let (Some(Some((_, point))), Some(from)) = (from, &raw.from)
        && point.unit != *unit.get_ref()
    {
        let message =
            format!("`{}` is in {}, the target in {}", point.name, point.unit, unit.get_ref());
        problems.report(&from.span(), message);
    }
    let range = problems.require(raw.range, &at, "range", "[0, 100]")?;
    let range = super::point::compile_range(&range, problems)?;
    let span = range.1 - range.0;
    let mut positive = |value: Maybe<f64>, key: &str| super::point::positive(value, key, problems);
    let step = positive(raw.step, "step");
    let max_change = positive(raw.max_change, "max_change");
    let tolerance = positive(raw.tolerance, "tolerance").unwrap_or(span / 100.0);
    if max_change.is_some() && raw.from.is_none() {
        problems.require::<()>(None, &at, "from", "\"opening\"");
    }
    let from = match from {
        Some(found) => Some(found?.0),
        None => None,
    };
    Some(Arg { unit: unit.into_inner(), range, step, max_change, from, tolerance })
}

fn check_unit(unit: &Spanned<String>, problems: &mut Problems<'_>) {
    if unit::check(unit.get_ref()).is_err() {
        let message = format!("`{}` is no UCUM unit", unit.get_ref());
        problems.report(&unit.span(), message);
    }
}

fn compile_site(
    name: Spanned<String>,
    raw: RawSite,
    problems: &mut Problems<'_>,
) -> Option<SiteValue> {
    let unit = problems.require(raw.unit, &name.span(), "unit", "\"m\"")?;
    check_unit(&unit, problems);
    let default = raw.default.map(Spanned::into_inner);
    Some(SiteValue { name: name.into_inner(), unit: unit.into_inner(), default })
}

fn compile_readback(
    raw: Spanned<RawReadback>,
    unit: Option<&str>,
    around: &Around<'_>,
    problems: &mut Problems<'_>,
) -> Option<Readback> {
    let at = raw.span();
    let raw = raw.into_inner();
    let point = problems.require(raw.point, &at, "point", "\"setpoint\"")?;
    let (index, found) = find_point(&point, around.points, problems)?;
    if unit.is_none() {
        problems.report(&at, "`readback` compares with the target; this command has no `arg`");
    }
    check_same_unit(found, unit, &point, problems);
    let tolerance = problems.require(raw.tolerance, &at, "tolerance", "0.1");
    let within = problems.require(raw.within, &at, "within", "\"2s\"");
    let within = read_duration(within, problems)?.into_inner();
    Some(Readback { point: index, tolerance: tolerance?.into_inner().abs(), within })
}

fn check_same_unit(
    point: &Point,
    unit: Option<&str>,
    name: &Spanned<String>,
    problems: &mut Problems<'_>,
) {
    if let Some(unit) = unit.filter(|unit| point.unit != *unit) {
        let message = format!("`{}` is in {}, the target in {unit}", point.name, point.unit);
        problems.report(&name.span(), message);
    }
}

fn compile_downlink(
    raw: Spanned<crate::profile::raw::RawDownlink>,
    problems: &mut Problems<'_>,
) -> Option<Order> {
    let at = raw.span();
    let raw = raw.into_inner();
    let port = problems.require(raw.port, &at, "port", "10")?;
    let number = u8::try_from(*port.get_ref()).ok().filter(|port| (1..=223).contains(port));
    if number.is_none() {
        let message = format!("port {} is not between 1 and 223", port.get_ref());
        problems.report(&port.span(), message);
    }
    let data = problems.require(raw.data, &at, "data", "{ cmd = \"recalibrate\" }")?;
    let data = problems.check(&data.span(), serde_json::to_value(data.get_ref()))?;
    Some(Order::Lorawan { port: number?, data })
}

fn compile_order(
    raw: Spanned<RawWrite>,
    arg: Option<&Arg>,
    around: &Around<'_>,
    problems: &mut Problems<'_>,
) -> Option<Order> {
    let at = raw.span();
    let raw = raw.into_inner();
    match around.wiring.bus() {
        Some(bus) => compile_registers(&raw, &at, arg, &bus, problems),
        None => compile_message(raw, &at, arg, problems),
    }
}

fn compile_registers(
    raw: &RawWrite,
    at: &Range<usize>,
    arg: Option<&Arg>,
    bus: &Bus<'_>,
    problems: &mut Problems<'_>,
) -> Option<Order> {
    for (key, place) in [("format", raw.format.as_ref()), ("hex", raw.hex.as_ref())] {
        if let Some(place) = place {
            let message = format!("`{key}` is for messages; this profile's source is modbus");
            problems.report(&place.span(), message);
        }
    }
    if arg.is_none() {
        problems.require(raw.value.as_ref(), at, "value", "1");
    } else if let Some(value) = &raw.value {
        problems
            .report(&value.span(), "the target is written; `value` is for a command without `arg`");
    }
    compile_target(raw, at, bus, problems).map(Order::Registers)
}

fn compile_message(
    raw: RawWrite,
    at: &Range<usize>,
    arg: Option<&Arg>,
    problems: &mut Problems<'_>,
) -> Option<Order> {
    for (key, place) in [
        ("table", raw.table.as_ref().map(Spanned::span)),
        ("address", raw.address.as_ref().map(Spanned::span)),
    ] {
        if let Some(place) = place {
            problems
                .report(&place, format_args!("`{key}` is for modbus; this device gets messages"));
        }
    }
    if let Some(format) = &raw.format {
        if format.get_ref() != "json" {
            let message = format!("unknown format `{}`", format.get_ref());
            problems.report_choice(&format.span(), message, format.get_ref(), &["json"]);
        }
        return Some(Order::Json);
    }
    let hex = problems.require(raw.hex, at, "format", "\"json\"")?;
    let Some(prefix) = read_hex(hex.get_ref()) else {
        problems.report(&hex.span(), "hexadecimal digits in pairs, for example \"A5 01\"");
        return None;
    };
    let target = match (raw.number, arg) {
        (Some(word), Some(_)) => {
            let number = problems.choose(&word, "type", &NumberType::ALL, NumberType::as_str)?;
            let order = raw.word_order.as_ref().map(|order| {
                problems.choose(order, "word order", &WordOrder::ALL, WordOrder::as_str)
            });
            let kind = RegisterKind { number, order: order.unwrap_or(Some(WordOrder::ABCD))? };
            Some((kind, raw.scale.map_or(1.0, Spanned::into_inner)))
        }
        (Some(word), None) => {
            problems.report(&word.span(), "this command has no `arg` that could be written");
            None
        }
        (None, Some(_)) => problems.require(None, at, "type", "\"u16\"")?,
        (None, None) => None,
    };
    Some(Order::Bytes(ByteOrder { prefix, target }))
}

/// Bytes from hexadecimal digits, with or without blanks between them.
pub(super) fn read_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn find_point<'p>(
    name: &Spanned<String>,
    points: &'p [Point],
    problems: &mut Problems<'_>,
) -> Option<(PointIndex, &'p Point)> {
    super::fixture::find_point(name, points, problems)
}

/// What a command's formulas may name.
struct Formulas<'a> {
    around: &'a Around<'a>,
    /// The target's unit; `None` when there is no target.
    unit: Option<String>,
    site: &'a [SiteValue],
}

impl Formulas<'_> {
    fn compile(&self, text: &str, at: &Range<usize>, problems: &mut Problems<'_>) -> Option<Expr> {
        let unit = self.unit.as_deref().unwrap_or("1");
        let mut scope = Scope::of(self.around.points);
        for (name, unit) in NAMES.into_iter().zip([unit, unit, "1"]) {
            scope.add(name, Kind::Number(unit));
        }
        for value in self.site {
            scope.add(&value.name, Kind::Number(&value.unit));
        }
        let errors = match expr::compile(text, &scope, Kind::Bool) {
            Ok(expr) => return Some(expr),
            Err(errors) => errors,
        };
        for error in errors {
            // The opening quote stands before the formula.
            let place = at.start + 1 + error.at.start..at.start + 1 + error.at.end;
            problems.report_with(&place, error.message, error.help);
        }
        None
    }

    /// A formula, or several with what their failure means.
    fn conditions(
        &self,
        raw: Maybe<RawConditions>,
        cause: Cause,
        problems: &mut Problems<'_>,
    ) -> Vec<Condition> {
        let Some(raw) = raw else { return Vec::new() };
        let at = raw.span();
        match raw.into_inner() {
            RawConditions::One(text) => {
                let expr = self.compile(&text, &at, problems);
                expr.map(|expr| self.condition(expr, text, cause, None)).into_iter().collect()
            }
            RawConditions::Many(list) => list
                .into_iter()
                .filter_map(|raw| self.one_of_many(raw, &at, cause, problems))
                .collect(),
        }
    }

    fn one_of_many(
        &self,
        raw: RawCondition,
        at: &Range<usize>,
        cause: Cause,
        problems: &mut Problems<'_>,
    ) -> Option<Condition> {
        let text = problems.require(raw.expr, at, "expr", "\"remote == 1\"")?;
        let expr = self.compile(text.get_ref(), &text.span(), problems);
        let reason = raw.reason.map_or(Some(cause), |word| {
            problems.choose(&word, "reason", &Cause::ALL, Cause::as_str)
        });
        let label = raw.text.map(|text| text.into_inner().0);
        Some(self.condition(expr?, text.into_inner(), reason?, label))
    }

    fn condition(
        &self,
        expr: Expr,
        source: String,
        cause: Cause,
        label: Option<Label>,
    ) -> Condition {
        let first = self.around.points.len();
        let needs_target = expr
            .inputs()
            .iter()
            .any(|input| (first..first + NAMES.len()).contains(&usize::from(input.0)));
        let text = label.unwrap_or_else(|| {
            let Label { zh, en } = cause.label();
            Label::new(format!("{zh}：{source}"), format!("{en}: {source}"))
        });
        Condition { expr, source, cause, text, needs_target }
    }

    fn confirm(
        &self,
        raw: Spanned<RawConfirm>,
        unit: Option<&str>,
        problems: &mut Problems<'_>,
    ) -> Option<Confirm> {
        let at = raw.span();
        let raw = raw.into_inner();
        let name = problems.require(raw.point, &at, "point", "\"opening\"")?;
        let (point, found) = find_point(&name, self.around.points, problems)?;
        let goal = match (raw.equals, raw.tolerance) {
            (Some(value), None) => compile_goal(&value, found, problems).map(Goal::Equals),
            (None, tolerance) => {
                if unit.is_none() {
                    problems.require::<()>(None, &at, "equals", "\"stopped\"");
                }
                check_same_unit(found, unit, &name, problems);
                let tolerance = problems.require(tolerance, &at, "tolerance", "1.0")?;
                Some(Goal::Target { tolerance: tolerance.into_inner().abs() })
            }
            (Some(_), Some(tolerance)) => {
                problems
                    .report(&tolerance.span(), "`tolerance` is for the target, not for `equals`");
                None
            }
        };
        let settled = raw.settled.map(|s| self.compile(s.get_ref(), &s.span(), problems));
        let within = problems.require(raw.within, &at, "within", "\"180s\"");
        let within = read_duration(within, problems);
        let every = read_duration(raw.every, problems).map_or(EVERY, Spanned::into_inner);
        let lost_after =
            read_duration(raw.lost_after, problems).map_or(LOST_AFTER, Spanned::into_inner);
        let settled = match settled {
            Some(settled) => Some(settled?),
            None => None,
        };
        let within = within?.into_inner();
        Some(Confirm { point, goal: goal?, settled, within, every, lost_after })
    }
}

/// A number, or the code of the point's state.
fn compile_goal(
    value: &Spanned<RawValue>,
    point: &Point,
    problems: &mut Problems<'_>,
) -> Option<f64> {
    super::fixture::state_or_number(value, point, problems)
}
