//! An expression's tree, typed and unit-checked, as what can be evaluated. Every mistake is noted and the rest is
//! checked on, with [`Type::Unknown`] where nothing more can be said.
//!
//! Units of the same dimension are converted: the right side of `+`, `-` and comparisons into the unit of the left, the
//! whole into the wanted one. A number without a unit takes the unit of what it is added to or compared with, and is
//! a plain factor in products.

use std::ops::Range;

use super::eval::{Comparison, Join, Map, Node};
use super::parser::{Binary, Part, Tree, Unary};
use super::{ExprError, Kind, Scope, choices};
use crate::profile::State;
use crate::profile::unit::Unit;

/// Longer lists of names help nobody.
const MAX_CHOICES: usize = 40;

/// What a part of the tree comes to.
#[derive(Debug, Clone)]
enum Type<'s> {
    Bool,
    /// A number that was written without a unit, or was computed from such.
    Bare,
    Number(Unit),
    State(&'s [State]),
    Unknown,
}

/// A checked part.
struct Typed<'s> {
    kind: Type<'s>,
    node: Node,
}

impl<'s> Typed<'s> {
    fn new(kind: Type<'s>, node: Node) -> Self {
        Typed { kind, node }
    }

    fn unknown() -> Self {
        Typed::new(Type::Unknown, Node::Constant(0.0))
    }
}

impl Type<'_> {
    fn describe(&self) -> String {
        match self {
            Type::Bool => "a condition".to_owned(),
            Type::Bare => "a number".to_owned(),
            Type::Number(unit) if unit.is_one() => "a plain number".to_owned(),
            Type::Number(unit) => format!("a number in {unit}"),
            Type::State(_) => "a state".to_owned(),
            Type::Unknown => "unknown".to_owned(),
        }
    }
}

/// Checks a tree; returns what evaluates it, and whether that is a condition.
pub(super) fn check<'s>(
    tree: &Tree<'_>,
    scope: &'s Scope<'s>,
    wanted: Kind<'s>,
) -> Result<(Node, bool), Vec<ExprError>> {
    let mut checker = Checker { scope, errors: Vec::new() };
    let states = if let Kind::State(states) = wanted { Some(states) } else { None };
    let whole = checker.visit(tree, states);
    let is_bool = matches!(whole.kind, Type::Bool);
    let node = checker.finish(whole, wanted, &tree.at);
    if checker.errors.is_empty() {
        return Ok((node, is_bool));
    }
    checker.errors.sort_by_key(|error| (error.at.start, error.at.end));
    Err(checker.errors)
}

struct Checker<'s> {
    scope: &'s Scope<'s>,
    errors: Vec<ExprError>,
}

impl<'s> Checker<'s> {
    fn refuse(&mut self, at: &Range<usize>, message: String, help: Vec<String>) -> Typed<'s> {
        self.errors.push(ExprError { at: at.clone(), message, help });
        Typed::unknown()
    }

    /// Checks a part; `states` are those among which a name in quotes is looked up.
    fn visit(&mut self, tree: &Tree<'_>, states: Option<&'s [State]>) -> Typed<'s> {
        match &tree.part {
            Part::Number(number) => Typed::new(Type::Bare, Node::Constant(*number)),
            Part::Quantity(number, unit, unit_at) => self.quantity(*number, unit, unit_at),
            Part::Bool(truth) => {
                Typed::new(Type::Bool, Node::Constant(f64::from(u8::from(*truth))))
            }
            Part::Text(name) => self.state(name, &tree.at, states),
            Part::Name(name) => self.name(name, &tree.at),
            Part::Unary(Unary::Not, inner) => {
                let node = self.condition(inner);
                Typed::new(Type::Bool, Node::Not(Box::new(node)))
            }
            Part::Unary(Unary::Minus, inner) => self.negate(inner),
            Part::Binary(binary, sides) => self.binary(*binary, sides, &tree.at),
            Part::Call("if", _, parts) => self.choice(parts, &tree.at, states),
            Part::Call(name, name_at, arguments) => self.call(name, name_at, arguments, &tree.at),
        }
    }

    fn quantity(&mut self, number: f64, code: &str, at: &Range<usize>) -> Typed<'s> {
        match crate::profile::unit::check(code) {
            Ok(()) => match Unit::parse(code) {
                Some(unit) => Typed::new(Type::Number(unit), Node::Constant(number)),
                None => Typed::unknown(),
            },
            Err(right) => {
                let help = match right {
                    Some(right) => format!("write '{right}'"),
                    None => "UCUM, for example 'm', 'kPa', 'm3/h', 'Cel', '%'".to_owned(),
                };
                self.refuse(at, format!("`{code}` is no unit"), vec![help])
            }
        }
    }

    fn state(&mut self, name: &str, at: &Range<usize>, states: Option<&'s [State]>) -> Typed<'s> {
        let Some(states) = states else {
            let help = "compare it with a point that has states: motor == 'fault'";
            let message = format!("nothing here has the state '{name}'");
            return self.refuse(at, message, vec![help.to_owned()]);
        };
        match states.iter().find(|state| state.name == name) {
            Some(state) => Typed::new(Type::State(states), Node::Constant(state.code)),
            None => {
                let names: Vec<&str> = states.iter().map(|state| state.name.as_str()).collect();
                self.refuse(at, format!("no state is named `{name}`"), choices(name, &names))
            }
        }
    }

    fn name(&mut self, name: &str, at: &Range<usize>) -> Typed<'s> {
        let Some((index, kind)) = self.scope.find(name) else {
            return self.unknown_name(name, at);
        };
        let kind = match kind {
            Kind::Bool => Type::Bool,
            Kind::State(states) => Type::State(states),
            Kind::Number(code) => Unit::parse(code).map_or(Type::Unknown, Type::Number),
            Kind::Unknown => Type::Unknown,
        };
        Typed::new(kind, Node::Input(index))
    }

    fn unknown_name(&mut self, name: &str, at: &Range<usize>) -> Typed<'s> {
        let names: Vec<&str> = self.scope.names.iter().map(|(name, _)| *name).collect();
        let is_state = self.scope.names.iter().any(|(_, kind)| {
            matches!(kind, Kind::State(states) if states.iter().any(|state| state.name == name))
        });
        let help = if is_state {
            vec![format!("a state's name stands in quotes: '{name}'")]
        } else if FUNCTIONS.iter().any(|function| function.name == name) {
            vec![format!("a function has its arguments in parentheses: {name}(...)")]
        } else {
            let mut help = choices(name, &names);
            help.retain(|line| names.len() <= MAX_CHOICES || !line.starts_with("allowed"));
            help
        };
        self.refuse(at, format!("nothing is named `{name}`"), help)
    }

    /// A part that must be a condition.
    fn condition(&mut self, tree: &Tree<'_>) -> Node {
        let part = self.visit(tree, None);
        match part.kind {
            Type::Bool | Type::Unknown => part.node,
            other => {
                let help = match other {
                    Type::State(_) => "compare it: motor == 'fault'",
                    _ => "compare it: level > 2.5",
                };
                let message = format!("expected a condition; this is {}", other.describe());
                self.refuse(&tree.at, message, vec![help.to_owned()]).node
            }
        }
    }

    /// A part that must be a number.
    fn number(&mut self, tree: &Tree<'_>) -> Typed<'s> {
        let part = self.visit(tree, None);
        let help = match part.kind {
            Type::Bare | Type::Number(_) | Type::Unknown => return part,
            Type::Bool => "count(...) and if(..., 1, 0) make a number of conditions",
            Type::State(_) => "a state's code is no measure; compare it: motor == 'fault'",
        };
        let message = format!("expected a number; this is {}", part.kind.describe());
        self.refuse(&tree.at, message, vec![help.to_owned()])
    }

    /// A number that can be multiplied: its scale has no zero of its own.
    fn factor(&mut self, tree: &Tree<'_>) -> Typed<'s> {
        let part = self.number(tree);
        let Type::Number(unit) = &part.kind else { return part };
        if !unit.has_own_zero() {
            return part;
        }
        let message = format!("{unit} has a zero of its own; no multiple of it means anything");
        let help = "it can be compared, subtracted and shifted; a difference can be multiplied";
        self.refuse(&tree.at, message, vec![help.to_owned()])
    }

    /// A plain number: `1`, a ratio, or one without a unit.
    fn plain(&mut self, tree: &Tree<'_>) -> Node {
        let part = self.number(tree);
        match &part.kind {
            Type::Number(unit) if !unit.is_one() => {
                let message = format!("expected a plain number; this is in {unit}");
                let help = format!("divide by 1 '{unit}'");
                self.refuse(&tree.at, message, vec![help]).node
            }
            _ => part.node,
        }
    }

    fn negate(&mut self, tree: &Tree<'_>) -> Typed<'s> {
        // `-3 'Cel'` is a place on the scale; only what is computed cannot be turned around.
        let is_literal = matches!(tree.part, Part::Quantity(..));
        let part = if is_literal { self.number(tree) } else { self.factor(tree) };
        let node = match part.node {
            Node::Constant(number) => Node::Constant(-number),
            node => Node::Map(Map::Negate, Box::new(node)),
        };
        Typed::new(part.kind, node)
    }

    fn binary(
        &mut self,
        binary: Binary,
        [left, right]: &[Tree<'_>; 2],
        at: &Range<usize>,
    ) -> Typed<'s> {
        match binary {
            Binary::And | Binary::Or => {
                let sides = Box::new([self.condition(left), self.condition(right)]);
                let node = if binary == Binary::And { Node::And(sides) } else { Node::Or(sides) };
                Typed::new(Type::Bool, node)
            }
            Binary::Add => self.add(left, right, at),
            Binary::Subtract => self.subtract(left, right, at),
            Binary::Multiply | Binary::Divide => self.multiply(binary, left, right, at),
            Binary::Equal => self.compare(Comparison::Equal, left, right, at),
            Binary::NotEqual => self.compare(Comparison::NotEqual, left, right, at),
            Binary::Less => self.compare(Comparison::Less, left, right, at),
            Binary::LessOrEqual => self.compare(Comparison::LessOrEqual, left, right, at),
            Binary::Greater => self.compare(Comparison::Greater, left, right, at),
            Binary::GreaterOrEqual => self.compare(Comparison::GreaterOrEqual, left, right, at),
        }
    }

    fn add(&mut self, left: &Tree<'_>, right: &Tree<'_>, at: &Range<usize>) -> Typed<'s> {
        let (a, b) = (self.number(left), self.number(right));
        let join = |a, b| Node::Join(Join::Add, Box::new([a, b]));
        match (a.kind, b.kind) {
            (Type::Unknown, _) | (_, Type::Unknown) => Typed::unknown(),
            (Type::Number(u), Type::Number(v)) if u.has_own_zero() && v.has_own_zero() => {
                let help = "add a difference to it, or take the middle: a + (b - a) / 2";
                let message = format!("two values in {u} have no sum: it has a zero of its own");
                self.refuse(at, message, vec![help.to_owned()])
            }
            // A place on a scale and a step: 20 Cel + 3 K.
            (Type::Number(u), Type::Number(v)) if v.has_own_zero() => {
                match self.converted(a.node, &u, &v.step(), "added", at) {
                    Some(node) => Typed::new(Type::Number(v), join(node, b.node)),
                    None => Typed::unknown(),
                }
            }
            (Type::Number(u), Type::Number(v)) => {
                match self.converted(b.node, &v, &u.step(), "added", at) {
                    Some(node) => Typed::new(Type::Number(u), join(a.node, node)),
                    None => Typed::unknown(),
                }
            }
            (Type::Number(u), _) | (_, Type::Number(u)) => {
                Typed::new(Type::Number(u), join(a.node, b.node))
            }
            _ => Typed::new(Type::Bare, join(a.node, b.node)),
        }
    }

    fn subtract(&mut self, left: &Tree<'_>, right: &Tree<'_>, at: &Range<usize>) -> Typed<'s> {
        let (a, b) = (self.number(left), self.number(right));
        let join = |a, b| Node::Join(Join::Subtract, Box::new([a, b]));
        match (a.kind, b.kind) {
            (Type::Unknown, _) | (_, Type::Unknown) => Typed::unknown(),
            (Type::Number(u), Type::Number(v)) => {
                // Two places on a scale are a step apart; a step from a place is a place.
                let (to, result) =
                    if v.has_own_zero() { (u.clone(), u.step()) } else { (u.step(), u) };
                match self.converted(b.node, &v, &to, "subtracted", at) {
                    Some(node) => Typed::new(Type::Number(result), join(a.node, node)),
                    None => Typed::unknown(),
                }
            }
            (Type::Number(u), _) => Typed::new(Type::Number(u), join(a.node, b.node)),
            (_, Type::Number(v)) => Typed::new(Type::Number(v.step()), join(a.node, b.node)),
            _ => Typed::new(Type::Bare, join(a.node, b.node)),
        }
    }

    fn multiply(
        &mut self,
        binary: Binary,
        left: &Tree<'_>,
        right: &Tree<'_>,
        at: &Range<usize>,
    ) -> Typed<'s> {
        let (a, b) = (self.factor(left), self.factor(right));
        let is_product = binary == Binary::Multiply;
        let kind = match (a.kind, b.kind) {
            (Type::Unknown, _) | (_, Type::Unknown) => return Typed::unknown(),
            (Type::Bare, Type::Bare) => Some(Type::Bare),
            (Type::Number(u), Type::Number(v)) if is_product => u.times(&v).map(Type::Number),
            (Type::Number(u), Type::Number(v)) => u.per(&v).map(Type::Number),
            (_, Type::Number(v)) if !is_product => v.power(-1).map(Type::Number),
            (Type::Number(u), _) | (_, Type::Number(u)) => Some(Type::Number(u)),
            _ => Some(Type::Unknown),
        };
        let join = if is_product { Join::Multiply } else { Join::Divide };
        match kind {
            Some(kind) => Typed::new(kind, Node::Join(join, Box::new([a.node, b.node]))),
            None => self.refuse(at, "no unit is this large".to_owned(), Vec::new()),
        }
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: &Tree<'_>,
        right: &Tree<'_>,
        at: &Range<usize>,
    ) -> Typed<'s> {
        let (a, b) = self.pair(left, right, None);
        let is_order = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let unordered = match (&a.kind, &b.kind) {
            (Type::State(_), _) | (_, Type::State(_)) => Some("states"),
            (Type::Bool, _) | (_, Type::Bool) => Some("conditions"),
            _ => None,
        };
        if let Some(what) = unordered.filter(|_| is_order) {
            let help = vec!["compare with == or !=".to_owned()];
            return self.refuse(at, format!("{what} have no order"), help);
        }
        match self.unify(a, b, "compared", at) {
            Some((_, a, b)) => Typed::new(Type::Bool, Node::Compare(comparison, Box::new([a, b]))),
            None => Typed::new(Type::Bool, Node::Constant(0.0)),
        }
    }

    /// Two parts side by side: a state's name in quotes is one of the other part's states.
    fn pair(
        &mut self,
        left: &Tree<'_>,
        right: &Tree<'_>,
        states: Option<&'s [State]>,
    ) -> (Typed<'s>, Typed<'s>) {
        let of = |part: &Typed<'s>| match part.kind {
            Type::State(own) => Some(own),
            _ => states,
        };
        if matches!(left.part, Part::Text(_)) {
            let b = self.visit(right, states);
            let a = self.beside(left, &b, of(&b));
            (a, b)
        } else {
            let a = self.visit(left, states);
            let b = self.beside(right, &a, of(&a));
            (a, b)
        }
    }

    /// A name in quotes beside something unknown is unknown, not wrong.
    fn beside(
        &mut self,
        tree: &Tree<'_>,
        other: &Typed<'s>,
        states: Option<&'s [State]>,
    ) -> Typed<'s> {
        if matches!((&tree.part, &other.kind), (Part::Text(_), Type::Unknown)) {
            return Typed::unknown();
        }
        self.visit(tree, states)
    }

    /// Two parts of one kind, in one unit: the left one's.
    fn unify(
        &mut self,
        a: Typed<'s>,
        b: Typed<'s>,
        verb: &str,
        at: &Range<usize>,
    ) -> Option<(Type<'s>, Node, Node)> {
        match (a.kind, b.kind) {
            (Type::Unknown, _) | (_, Type::Unknown) => Some((Type::Unknown, a.node, b.node)),
            (Type::Bool, Type::Bool) => Some((Type::Bool, a.node, b.node)),
            (Type::Bare, Type::Bare) => Some((Type::Bare, a.node, b.node)),
            (Type::State(own), Type::State(others)) if own == others => {
                Some((Type::State(own), a.node, b.node))
            }
            (Type::State(states), Type::Bare) => {
                self.check_code(states, &b.node, at)?;
                Some((Type::State(states), a.node, b.node))
            }
            (Type::Bare, Type::State(states)) => {
                self.check_code(states, &a.node, at)?;
                Some((Type::State(states), a.node, b.node))
            }
            (Type::Number(u), Type::Bare) | (Type::Bare, Type::Number(u)) => {
                Some((Type::Number(u), a.node, b.node))
            }
            (Type::Number(u), Type::Number(v)) => {
                let node = self.converted(b.node, &v, &u, verb, at)?;
                Some((Type::Number(u), a.node, node))
            }
            (a, b) => {
                let message = format!("{} and {} cannot be {verb}", a.describe(), b.describe());
                self.refuse(at, message, Vec::new());
                None
            }
        }
    }

    /// A state's code is one that the point has.
    fn check_code(&mut self, states: &[State], node: &Node, at: &Range<usize>) -> Option<()> {
        let Node::Constant(code) = node else {
            let help = vec!["compare it with a state's name or code".to_owned()];
            self.refuse(at, "a state and a computed number cannot be compared".to_owned(), help);
            return None;
        };
        if states.iter().any(|state| state.code == *code) {
            return Some(());
        }
        let codes = states.iter().map(|state| format!("{} = '{}'", state.code, state.name));
        let help = vec![format!("allowed: {}", codes.collect::<Vec<_>>().join(", "))];
        self.refuse(at, format!("no state has the code {code}"), help);
        None
    }

    /// A value in `from` as one in `to`.
    fn converted(
        &mut self,
        node: Node,
        from: &Unit,
        to: &Unit,
        verb: &str,
        at: &Range<usize>,
    ) -> Option<Node> {
        match from.conversion_to(to) {
            Some(conversion) if conversion.is_none() => Some(node),
            Some(conversion) => Some(Node::Convert(Box::new(node), conversion)),
            None => {
                let message = format!("{to} and {from} cannot be {verb}");
                self.refuse(at, message, unit_help(from, to));
                None
            }
        }
    }

    fn choice(
        &mut self,
        parts: &[Tree<'_>],
        at: &Range<usize>,
        states: Option<&'s [State]>,
    ) -> Typed<'s> {
        let [condition, yes, no] = parts else {
            let message = format!("`if` has 3 arguments, not {}", parts.len());
            let help = vec!["if(condition, value if it holds, value if not)".to_owned()];
            return self.refuse(at, message, help);
        };
        let condition = self.condition(condition);
        let (yes, no) = self.pair(yes, no, states);
        match self.unify(yes, no, "alternatives", at) {
            Some((kind, yes, no)) => Typed::new(kind, Node::If(Box::new([condition, yes, no]))),
            None => Typed::unknown(),
        }
    }

    fn call(
        &mut self,
        name: &str,
        name_at: &Range<usize>,
        arguments: &[Tree<'_>],
        at: &Range<usize>,
    ) -> Typed<'s> {
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
            // What is inside may be wrong too.
            arguments.iter().for_each(|argument| drop(self.visit(argument, None)));
            return self.refuse(name_at, format!("no function `{name}`"), choices(name, &names));
        };
        if !function.takes(arguments.len()) {
            let message = format!("`{name}` has {}, not {}", function.arity(), arguments.len());
            return self.refuse(at, message, vec![function.usage.to_owned()]);
        }
        match (function.does, arguments) {
            (Does::Map(map), [argument]) => {
                let node = self.plain(argument);
                Typed::new(Type::Number(Unit::one()), Node::Map(map, Box::new(node)))
            }
            (Does::Angle(map), [argument]) => self.angle(map, argument),
            (Does::Keep(map), [argument]) => {
                let part = self.factor(argument);
                Typed::new(part.kind, Node::Map(map, Box::new(part.node)))
            }
            (Does::Root, [argument]) => self.root(argument, at),
            (Does::Power, [base, exponent]) => self.power(base, exponent, at),
            (Does::Clamp, [value, low, high]) => {
                let at_least = self.fold(Join::Max, &[value, low], at);
                let high = self.number(high);
                self.join_two(Join::Min, at_least, high, at)
            }
            (Does::Fold(join), all) => self.fold(join, &all.iter().collect::<Vec<_>>(), at),
            (Does::Count, all) => {
                let conditions = all.iter().map(|one| self.condition(one)).collect();
                Typed::new(Type::Number(Unit::one()), Node::Count(conditions))
            }
            // `if` is a part of its own, and the numbers of arguments are right.
            _ => Typed::unknown(),
        }
    }

    fn fold(&mut self, join: Join, all: &[&Tree<'_>], at: &Range<usize>) -> Typed<'s> {
        let mut parts = all.iter().map(|one| self.number(one)).collect::<Vec<_>>().into_iter();
        let Some(first) = parts.next() else { return Typed::unknown() };
        parts.fold(first, |sofar, next| self.join_two(join, sofar, next, at))
    }

    fn join_two(&mut self, join: Join, a: Typed<'s>, b: Typed<'s>, at: &Range<usize>) -> Typed<'s> {
        match self.unify(a, b, "compared", at) {
            Some((kind, a, b)) => Typed::new(kind, Node::Join(join, Box::new([a, b]))),
            None => Typed::unknown(),
        }
    }

    /// Angle functions count in radians; degrees are converted.
    fn angle(&mut self, map: Map, argument: &Tree<'_>) -> Typed<'s> {
        let part = self.number(argument);
        let degree = Unit::parse("deg");
        let from_degrees = match (&part.kind, &degree) {
            (Type::Number(unit), Some(degree)) => unit.conversion_to(degree),
            _ => None,
        };
        let node = match (from_degrees, &part.kind) {
            (Some(conversion), _) => {
                let divisor = 1f64.to_degrees();
                let degrees = Node::Convert(Box::new(part.node), conversion);
                Node::Join(Join::Divide, Box::new([degrees, Node::Constant(divisor)]))
            }
            (None, Type::Number(unit)) if !unit.is_one() => {
                let message = format!("expected an angle in deg or radians; this is in {unit}");
                return self.refuse(&argument.at, message, Vec::new());
            }
            _ => part.node,
        };
        Typed::new(Type::Number(Unit::one()), Node::Map(map, Box::new(node)))
    }

    fn root(&mut self, argument: &Tree<'_>, at: &Range<usize>) -> Typed<'s> {
        let part = self.factor(argument);
        let kind = match part.kind {
            Type::Number(unit) => match unit.root() {
                Some(root) => Type::Number(root),
                None => {
                    let message = format!("{unit} is the square of no unit");
                    return self.refuse(at, message, Vec::new());
                }
            },
            other => other,
        };
        Typed::new(kind, Node::Map(Map::Sqrt, Box::new(part.node)))
    }

    fn power(&mut self, base: &Tree<'_>, exponent: &Tree<'_>, at: &Range<usize>) -> Typed<'s> {
        let exponent_node = self.plain(exponent);
        let part = self.factor(base);
        let kind = match part.kind {
            Type::Number(unit) if !unit.is_one() => {
                let whole = match exponent_node {
                    Node::Constant(n) if n.fract() == 0.0 && n.abs() <= 9.0 => Some(n as i32),
                    _ => None,
                };
                match whole.and_then(|n| unit.power(n)) {
                    Some(unit) => Type::Number(unit),
                    None => {
                        let message =
                            format!("{unit} can be raised to whole numbers from -9 to 9 only");
                        let help = vec![format!("make it a plain number first: x / 1 '{unit}'")];
                        return self.refuse(at, message, help);
                    }
                }
            }
            other => other,
        };
        Typed::new(kind, Node::Join(Join::Power, Box::new([part.node, exponent_node])))
    }

    /// The whole, as what is wanted.
    fn finish(&mut self, whole: Typed<'s>, wanted: Kind<'s>, at: &Range<usize>) -> Node {
        match (wanted, &whole.kind) {
            (Kind::Unknown, _) | (_, Type::Unknown) | (Kind::Bool, Type::Bool) => whole.node,
            (Kind::Number(_), Type::Bare) => whole.node,
            (Kind::Number(code), Type::Number(from)) => match Unit::parse(code) {
                Some(to) => self.in_unit(whole.node, from, &to, at),
                None => whole.node,
            },
            (Kind::State(states), Type::State(own)) if states == *own => whole.node,
            (Kind::State(_), Type::Bare) => whole.node,
            (Kind::State(states), Type::Bool) if has_truths(states) => whole.node,
            _ => self.refuse_result(wanted, &whole.kind, at),
        }
    }

    fn in_unit(&mut self, node: Node, from: &Unit, to: &Unit, at: &Range<usize>) -> Node {
        match from.conversion_to(to) {
            Some(conversion) if conversion.is_none() => node,
            Some(conversion) => Node::Convert(Box::new(node), conversion),
            None => {
                let message = format!("this is in {from}; expected {to}");
                self.refuse(at, message, unit_help(from, to)).node
            }
        }
    }

    fn refuse_result(&mut self, wanted: Kind<'_>, found: &Type<'_>, at: &Range<usize>) -> Node {
        let (expected, help) = match (wanted, found) {
            (Kind::Bool, Type::State(_)) => {
                ("a condition".to_owned(), "compare it: motor == 'fault'")
            }
            (Kind::Bool, _) => ("a condition".to_owned(), "compare it: level > 2.5"),
            (Kind::State(_), Type::Bool) => {
                ("a state".to_owned(), "a condition fits states with the codes 0 and 1")
            }
            (Kind::State(_), _) => {
                ("a state".to_owned(), "for example if(level > 2.5, 'high', 'low')")
            }
            (Kind::Number(unit), _) => (
                format!("a number in {unit}"),
                "write if(..., 1, 0), or give the point states in place of a unit",
            ),
            (Kind::Unknown, _) => return Node::Constant(0.0),
        };
        let message = format!("expected {expected}; this is {}", found.describe());
        self.refuse(at, message, vec![help.to_owned()]).node
    }
}

/// Whether a condition's 0 and 1 are states.
fn has_truths(states: &[State]) -> bool {
    [0.0, 1.0].iter().all(|code| states.iter().any(|state| state.code == *code))
}

/// What helps when units do not fit.
fn unit_help(from: &Unit, to: &Unit) -> Vec<String> {
    let fits = |unit: Option<Unit>| unit.is_some_and(|unit| unit.conversion_to(to).is_some());
    let percent = Unit::parse("%");
    let help = if fits(percent.as_ref().and_then(|percent| from.per(percent))) {
        "divide the percentage by 100 '%' to make it a ratio".to_owned()
    } else if fits(percent.as_ref().and_then(|percent| from.times(percent))) {
        "a ratio becomes a percentage by * 100 '%'".to_owned()
    } else if from.step().conversion_to(&to.step()).is_some() {
        let scale = if from.has_own_zero() { from } else { to };
        format!("{scale} has a zero of its own: it is a place on a scale, a difference is a step")
    } else {
        return Vec::new();
    };
    vec![help]
}

/// A function of the language.
struct Function {
    name: &'static str,
    least: usize,
    most: usize,
    does: Does,
    usage: &'static str,
}

#[derive(Clone, Copy)]
enum Does {
    /// Takes and gives a plain number.
    Map(Map),
    /// Takes an angle, gives a plain number.
    Angle(Map),
    /// Keeps the unit.
    Keep(Map),
    Root,
    Power,
    Clamp,
    Fold(Join),
    Count,
    If,
}

impl Function {
    fn takes(&self, count: usize) -> bool {
        (self.least..=self.most).contains(&count)
    }

    fn arity(&self) -> String {
        match (self.least, self.most) {
            (1, 1) => "1 argument".to_owned(),
            (least, most) if least == most => format!("{least} arguments"),
            (1, _) => "at least 1 argument".to_owned(),
            (least, _) => format!("at least {least} arguments"),
        }
    }
}

const MANY: usize = usize::MAX;

const fn function(
    name: &'static str,
    (least, most): (usize, usize),
    does: Does,
    usage: &'static str,
) -> Function {
    Function { name, least, most, does, usage }
}

const FUNCTIONS: &[Function] = &[
    function("if", (3, 3), Does::If, "if(condition, a, b)"),
    function("min", (2, MANY), Does::Fold(Join::Min), "min(a, b, ...)"),
    function("max", (2, MANY), Does::Fold(Join::Max), "max(a, b, ...)"),
    function("clamp", (3, 3), Does::Clamp, "clamp(value, low, high)"),
    function("abs", (1, 1), Does::Keep(Map::Abs), "abs(a)"),
    function("floor", (1, 1), Does::Keep(Map::Floor), "floor(a)"),
    function("round", (1, 1), Does::Keep(Map::Round), "round(a)"),
    function("sqrt", (1, 1), Does::Root, "sqrt(a)"),
    function("pow", (2, 2), Does::Power, "pow(base, exponent)"),
    function("exp", (1, 1), Does::Map(Map::Exp), "exp(a)"),
    function("ln", (1, 1), Does::Map(Map::Ln), "ln(a)"),
    function("sin", (1, 1), Does::Angle(Map::Sin), "sin(angle)"),
    function("cos", (1, 1), Does::Angle(Map::Cos), "cos(angle)"),
    function("acos", (1, 1), Does::Map(Map::Acos), "acos(a)"),
    function("count", (1, MANY), Does::Count, "count(condition, condition, ...)"),
];
