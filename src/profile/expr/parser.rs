//! An expression's words as a tree: a Pratt parser, bounded in size and depth.

use std::ops::Range;

use super::ExprError;
use super::lexer::{Placed, Token, lex};

/// Longer texts are no formula of a device. Also bounds what an error shows.
const MAX_BYTES: usize = 4_096;

/// Nodes of a tree, and so its height: what later steps walk by recursion.
const MAX_NODES: usize = 256;

/// Parentheses and signs inside one another.
const MAX_DEPTH: usize = 48;

/// A part of an expression with its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree<'t> {
    pub(super) part: Part<'t>,
    pub(super) at: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part<'t> {
    Number(f64),
    /// A number with its unit in quotes, and where that stands.
    Quantity(f64, &'t str, Range<usize>),
    Bool(bool),
    /// A state's name in quotes.
    Text(&'t str),
    Name(&'t str),
    Unary(Unary, Box<Tree<'t>>),
    Binary(Binary, Box<[Tree<'t>; 2]>),
    /// A function's name, where that stands, and its arguments.
    Call(&'t str, Range<usize>, Vec<Tree<'t>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Minus,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Binary {
    const ALL: [(&'static str, Binary); 12] = [
        ("||", Binary::Or),
        ("&&", Binary::And),
        ("==", Binary::Equal),
        ("!=", Binary::NotEqual),
        ("<", Binary::Less),
        ("<=", Binary::LessOrEqual),
        (">", Binary::Greater),
        (">=", Binary::GreaterOrEqual),
        ("+", Binary::Add),
        ("-", Binary::Subtract),
        ("*", Binary::Multiply),
        ("/", Binary::Divide),
    ];

    /// How tightly it binds.
    fn power(self) -> u8 {
        match self {
            Binary::Or => 1,
            Binary::And => 2,
            Binary::Add | Binary::Subtract => 4,
            Binary::Multiply | Binary::Divide => 5,
            _ => COMPARISON,
        }
    }
}

const COMPARISON: u8 = 3;

/// Tighter than every binary operator.
const UNARY: u8 = 6;

/// Makes the tree.
pub(super) fn parse(text: &str) -> Result<Tree<'_>, ExprError> {
    if text.len() > MAX_BYTES {
        let message = format!("an expression has at most {MAX_BYTES} bytes");
        return Err(refuse(0..text.len(), message, None));
    }
    let words = lex(text)?;
    let mut parser = Parser { words: &words, next: 0, nodes: 0, depth: 0 };
    let tree = parser.expression(0)?;
    match parser.peek() {
        Placed { token: Token::End, .. } => Ok(tree),
        word => Err(parser.unexpected(word, "an operator")),
    }
}

struct Parser<'t, 'w> {
    words: &'w [Placed<'t>],
    next: usize,
    nodes: usize,
    depth: usize,
}

impl<'t, 'w> Parser<'t, 'w> {
    /// The next word; the end, once that is reached.
    fn peek(&self) -> &'w Placed<'t> {
        &self.words[self.next.min(self.words.len() - 1)]
    }

    fn take(&mut self) -> &'w Placed<'t> {
        let word = self.peek();
        self.next += 1;
        word
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let is_there = matches!(self.peek().token, Token::Sign(found) if found == sign);
        self.next += usize::from(is_there);
        is_there
    }

    fn tree(&mut self, part: Part<'t>, at: Range<usize>) -> Result<Tree<'t>, ExprError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("an expression has at most {MAX_NODES} parts");
            let help = "split it: a derived point may use another derived point";
            return Err(refuse(at, message, Some(help)));
        }
        Ok(Tree { part, at })
    }

    /// What binds tighter than `least`.
    fn expression(&mut self, least: u8) -> Result<Tree<'t>, ExprError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} parts inside one another");
            return Err(refuse(self.peek().at.clone(), message, None));
        }
        let mut left = self.operand()?;
        while let Token::Sign(sign) = self.peek().token {
            let Some((_, binary)) = Binary::ALL.iter().find(|(known, _)| *known == sign) else {
                break;
            };
            if binary.power() <= least {
                break;
            }
            self.refuse_chain(&left, *binary)?;
            self.take();
            let right = self.expression(binary.power())?;
            let at = left.at.start..right.at.end;
            left = self.tree(Part::Binary(*binary, Box::new([left, right])), at)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// `a < b < c` compares a truth with a number in every language that takes it.
    fn refuse_chain(&self, left: &Tree<'_>, binary: Binary) -> Result<(), ExprError> {
        let is_chain = binary.power() == COMPARISON
            && matches!(&left.part, Part::Binary(first, _) if first.power() == COMPARISON)
            // In parentheses it is meant: their place is wider than what is in them.
            && matches!(&left.part, Part::Binary(_, sides) if sides[0].at.start == left.at.start);
        if is_chain {
            let help = "write a < b && b < c";
            let message = "comparisons do not chain".to_owned();
            return Err(refuse(self.peek().at.clone(), message, Some(help)));
        }
        Ok(())
    }

    fn operand(&mut self) -> Result<Tree<'t>, ExprError> {
        let word = self.take();
        let at = word.at.clone();
        match word.token {
            Token::Number(number) => self.number(number, at),
            Token::Quoted(text) => self.tree(Part::Text(text), at),
            Token::Name("true") => self.tree(Part::Bool(true), at),
            Token::Name("false") => self.tree(Part::Bool(false), at),
            Token::Name(name) if self.takes_sign("(") => self.call(name, at),
            Token::Name(name) => self.tree(Part::Name(name), at),
            Token::Sign("-") => self.unary(Unary::Minus, at),
            Token::Sign("!") => self.unary(Unary::Not, at),
            Token::Sign("(") => {
                let mut inner = self.expression(0)?;
                inner.at = at.start..self.close(&at)?;
                Ok(inner)
            }
            _ => Err(self.unexpected(word, "a number, a point or `(`")),
        }
    }

    fn number(&mut self, number: f64, at: Range<usize>) -> Result<Tree<'t>, ExprError> {
        if let Token::Quoted(unit) = self.peek().token {
            let unit_at = self.take().at.clone();
            let whole = at.start..unit_at.end;
            return self.tree(Part::Quantity(number, unit, unit_at), whole);
        }
        self.tree(Part::Number(number), at)
    }

    fn unary(&mut self, unary: Unary, at: Range<usize>) -> Result<Tree<'t>, ExprError> {
        let inner = self.expression(UNARY)?;
        let at = at.start..inner.at.end;
        self.tree(Part::Unary(unary, Box::new(inner)), at)
    }

    fn call(&mut self, name: &'t str, at: Range<usize>) -> Result<Tree<'t>, ExprError> {
        let mut arguments = Vec::new();
        let end = if matches!(self.peek().token, Token::Sign(")")) {
            self.take().at.end
        } else {
            loop {
                arguments.push(self.expression(0)?);
                if !self.takes_sign(",") {
                    break self.close(&at)?;
                }
            }
        };
        self.tree(Part::Call(name, at.clone(), arguments), at.start..end)
    }

    /// Takes a `)` and says where it ends.
    fn close(&mut self, opened: &Range<usize>) -> Result<usize, ExprError> {
        let word = self.peek();
        match word.token {
            Token::Sign(")") => Ok(self.take().at.end),
            Token::End => Err(refuse(opened.clone(), "the `(` is not closed".to_owned(), None)),
            _ => Err(self.unexpected(word, "an operator, `,` or `)`")),
        }
    }

    fn unexpected(&self, word: &Placed<'_>, expected: &str) -> ExprError {
        let (found, help) = match word.token {
            Token::End => ("the expression ends".to_owned(), None),
            Token::Number(number) => (format!("found {number}"), None),
            Token::Quoted(text) => (format!("found '{text}'"), None),
            Token::Sign(sign) => (format!("found `{sign}`"), None),
            Token::Name(name) => (format!("found `{name}`"), self.name_help(name)),
        };
        let message = format!("expected {expected}; {found}");
        refuse(word.at.clone(), message, help.as_deref())
    }

    /// Words of other languages, and a unit without its quotes.
    fn name_help(&self, name: &str) -> Option<String> {
        let follows_number = self.next > 0
            && self.words.get(self.next - 1).is_some_and(|w| matches!(w.token, Token::Number(_)));
        match name {
            "and" => Some("write &&".to_owned()),
            "or" => Some("write ||".to_owned()),
            "not" => Some("write !".to_owned()),
            _ if follows_number => Some(format!("a unit stands in quotes: '{name}'")),
            _ => None,
        }
    }
}

fn refuse(at: Range<usize>, message: String, help: Option<&str>) -> ExprError {
    ExprError { at, message, help: help.map(str::to_owned).into_iter().collect() }
}
