//! STAND-IN until lane/expr is merged.
#![allow(missing_docs, clippy::all)]
use crate::model::{PointIndex, Quality};
use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operand { pub value: f64, pub quality: Quality }

pub struct Scope<'a> { pub points: &'a [super::Point], pub extra: Vec<(String, String)> }

#[derive(Debug, Clone)]
pub struct ExprError { pub at: Range<usize>, pub message: String, pub help: Vec<String> }

#[derive(Debug, Clone)]
enum Node { Num(f64), In(PointIndex), Un(char, Box<Node>), Bin(&'static str, Box<Node>, Box<Node>), Abs(Box<Node>) }

#[derive(Debug, Clone)]
pub struct Expr { root: Node, inputs: Vec<PointIndex> }

impl Expr {
    pub fn inputs(&self) -> &[PointIndex] { &self.inputs }
    pub fn is_bool(&self) -> bool { true }
    pub fn eval(&self, values: &impl Fn(PointIndex) -> Operand) -> Operand {
        let mut q = Quality::GOOD;
        let v = go(&self.root, values, &mut q);
        Operand { value: v, quality: q }
    }
}
fn go(n: &Node, f: &impl Fn(PointIndex) -> Operand, q: &mut Quality) -> f64 {
    match n {
        Node::Num(x) => *x,
        Node::In(p) => { let o = f(*p); if o.quality != Quality::GOOD { *q = o.quality; } o.value }
        Node::Un('-', a) => -go(a, f, q),
        Node::Un(_, a) => f64::from(u8::from(go(a, f, q) == 0.0)),
        Node::Abs(a) => go(a, f, q).abs(),
        Node::Bin(op, a, b) => {
            let (x, y) = (go(a, f, q), go(b, f, q));
            let b = |b: bool| f64::from(u8::from(b));
            match *op { "+" => x + y, "-" => x - y, "*" => x * y, "/" => x / y,
                "==" => b(x == y), "!=" => b(x != y), "<" => b(x < y), "<=" => b(x <= y), ">" => b(x > y), ">=" => b(x >= y),
                "&&" => b(x != 0.0 && y != 0.0), _ => b(x != 0.0 || y != 0.0) }
        }
    }
}
struct P<'a> { t: &'a str, i: usize, s: &'a Scope<'a>, inputs: Vec<PointIndex> }
const LEVELS: [&[&str]; 5] = [&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">"], &["+", "-"], &["*", "/"]];
impl P<'_> {
    fn ws(&mut self) { while self.t[self.i..].starts_with(' ') { self.i += 1; } }
    fn level(&mut self, l: usize) -> Result<Node, ExprError> {
        if l == LEVELS.len() { return self.unary(); }
        let mut a = self.level(l + 1)?;
        'more: loop {
            self.ws();
            for op in LEVELS[l] { if self.t[self.i..].starts_with(op) { self.i += op.len(); let b = self.level(l + 1)?; a = Node::Bin(op, Box::new(a), Box::new(b)); continue 'more; } }
            return Ok(a);
        }
    }
    fn unary(&mut self) -> Result<Node, ExprError> {
        self.ws();
        let rest = &self.t[self.i..];
        if rest.starts_with('-') || rest.starts_with('!') { let c = rest.chars().next().unwrap_or('-'); self.i += 1; return Ok(Node::Un(c, Box::new(self.unary()?))); }
        if rest.starts_with('(') { self.i += 1; let a = self.level(0)?; self.ws(); if !self.t[self.i..].starts_with(')') { return Err(self.err("`)` is missing", 1)); } self.i += 1; return Ok(a); }
        let n = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
        let word = &rest[..n];
        if let Ok(x) = word.parse() { self.i += n; return Ok(Node::Num(x)); }
        if word == "abs" { self.i += n; return Ok(Node::Abs(Box::new(self.unary()?))); }
        let p = self.s.points.iter().position(|p| p.name.as_str() == word).or_else(|| self.s.extra.iter().position(|(e, _)| e == word).map(|e| e + self.s.points.len()));
        let Some(p) = p else { let m = format!("no value is named `{word}`"); return Err(self.err(&m, n.max(1))); };
        self.i += n;
        let p = PointIndex(p as u16);
        if !self.inputs.contains(&p) { self.inputs.push(p); }
        Ok(Node::In(p))
    }
    fn err(&self, m: &str, n: usize) -> ExprError { ExprError { at: self.i..self.i + n, message: m.into(), help: vec![] } }
}
pub fn compile(text: &str, scope: &Scope<'_>) -> Result<Expr, ExprError> {
    let mut p = P { t: text, i: 0, s: scope, inputs: vec![] };
    let root = p.level(0)?;
    p.ws();
    if p.i < text.len() { return Err(p.err("unexpected", text.len() - p.i)); }
    let mut inputs = p.inputs; inputs.sort();
    Ok(Expr { root, inputs })
}
