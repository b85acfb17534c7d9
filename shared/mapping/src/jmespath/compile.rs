//! From the parser's tree to ours: chains of names become paths, paths from the record become slots, functions
//! and their number of arguments are checked.

use jmespath::ast::{Ast, Comparator as AstComparator, KeyValuePair};

use super::{Comparator, Expr, Function, Step};
use crate::{expr::SlotTable, json::Node, limits::MAX_TREE_DEPTH};

/// What is wrong with an expression: code and detail.
pub(crate) type Refusal = (&'static str, String);

/// Compiles an expression. `slots` is where its paths are asked for if it is applied to the record.
///
/// Runs on the parser's thread: it calls itself for each level of the parser's tree.
pub(crate) fn compile(text: &str, slots: Option<&mut SlotTable>) -> Result<Expr, Refusal> {
    let ast =
        jmespath::parse(text).map_err(|error| ("invalid_expression", one_line(&error.reason.to_string())))?;
    let at_root = slots.is_some();
    Converter { slots }.convert(&ast, at_root, 0)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Converter<'s> {
    slots: Option<&'s mut SlotTable>,
}

impl Converter<'_> {
    /// `at_root`: the current value is the record.
    fn convert(&mut self, ast: &Ast, at_root: bool, depth: usize) -> Result<Expr, Refusal> {
        if depth > MAX_TREE_DEPTH {
            return Err((
                "too_deep",
                format!("an expression's parts nest at most {MAX_TREE_DEPTH} levels"),
            ));
        }
        let depth = depth + 1;
        let boxed = |this: &mut Self, ast: &Ast, at_root| this.convert(ast, at_root, depth).map(Box::new);
        Ok(match ast {
            Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Subexpr { .. } => {
                return self.chain(ast, at_root, depth);
            }
            Ast::Literal { value, .. } => Expr::Literal(literal(value)?),
            Ast::Comparison {
                comparator, lhs, rhs, ..
            } => Expr::Compare(
                comparison(comparator),
                boxed(self, lhs, at_root)?,
                boxed(self, rhs, at_root)?,
            ),
            Ast::Condition { predicate, then, .. } => {
                Expr::Condition(boxed(self, predicate, at_root)?, boxed(self, then, at_root)?)
            }
            Ast::Expref { ast, .. } => Expr::Quote(boxed(self, ast, false)?),
            Ast::Flatten { node, .. } => Expr::Flatten(boxed(self, node, at_root)?),
            Ast::Function { name, args, .. } => self.call(name, args, at_root, depth)?,
            Ast::MultiList { elements, .. } => Expr::List {
                elements: self.all(elements, at_root, depth)?,
                relative: !at_root,
            },
            Ast::MultiHash { elements, .. } => Expr::Map {
                members: self.members(elements, at_root, depth)?,
                relative: !at_root,
            },
            Ast::Not { node, .. } => Expr::Not(boxed(self, node, at_root)?),
            Ast::Projection { lhs, rhs, .. } => {
                Expr::Project(boxed(self, lhs, at_root)?, boxed(self, rhs, false)?)
            }
            Ast::ObjectValues { node, .. } => Expr::Values(boxed(self, node, at_root)?),
            Ast::And { lhs, rhs, .. } => Expr::And(boxed(self, lhs, at_root)?, boxed(self, rhs, at_root)?),
            Ast::Or { lhs, rhs, .. } => Expr::Or(boxed(self, lhs, at_root)?, boxed(self, rhs, at_root)?),
            Ast::Slice {
                start, stop, step, ..
            } => {
                if *step == 0 {
                    return Err(("invalid_expression", "a slice's step cannot be 0".to_owned()));
                }
                let slice = Expr::Slice {
                    start: start.map(i64::from),
                    stop: stop.map(i64::from),
                    step: i64::from(*step),
                };
                if at_root {
                    Expr::Chain(vec![self.ask(Vec::new()), slice])
                } else {
                    slice
                }
            }
        })
    }

    fn all(&mut self, parts: &[Ast], at_root: bool, depth: usize) -> Result<Vec<Expr>, Refusal> {
        parts
            .iter()
            .map(|part| self.convert(part, at_root, depth))
            .collect()
    }

    fn members(
        &mut self,
        pairs: &[KeyValuePair],
        at_root: bool,
        depth: usize,
    ) -> Result<Vec<(String, Expr)>, Refusal> {
        let member = |pair: &KeyValuePair| Ok((pair.key.clone(), self.convert(&pair.value, at_root, depth)?));
        pairs.iter().map(member).collect()
    }

    fn call(&mut self, name: &str, args: &[Ast], at_root: bool, depth: usize) -> Result<Expr, Refusal> {
        let Some(function) = Function::named(name) else {
            return Err(("unknown_function", format!("there is no function {name}()")));
        };
        let (least, most) = function.arity();
        if args.len() < least || args.len() > most {
            let detail = format!("{name}() does not take {} arguments", args.len());
            return Err(("invalid_expression", detail));
        }
        Ok(Expr::Call(function, self.all(args, at_root, depth)?))
    }

    /// A path into the record.
    fn ask(&mut self, path: Vec<String>) -> Expr {
        match &mut self.slots {
            Some(slots) => Expr::Slot(slots.ask(path)),
            None => Expr::Current,
        }
    }

    /// A run of sub-expressions: names and places become paths.
    fn chain(&mut self, ast: &Ast, at_root: bool, depth: usize) -> Result<Expr, Refusal> {
        let mut parts = Vec::new();
        flatten(ast, &mut parts);
        let mut parts = parts.into_iter().peekable();
        let mut chain = Vec::new();
        if at_root && parts.peek().is_none_or(|first| is_step(first)) {
            let mut path = Vec::new();
            while let Some(Ast::Field { name, .. }) = parts.next_if(|part| matches!(part, Ast::Field { .. }))
            {
                path.push(name.clone());
            }
            chain.push(self.ask(path));
        }
        let mut steps = Vec::new();
        for part in parts {
            match part {
                Ast::Field { name, .. } => steps.push(Step::Key(name.clone())),
                Ast::Index { idx, .. } => steps.push(Step::Index(i64::from(*idx))),
                other => {
                    if !steps.is_empty() {
                        chain.push(Expr::Path(std::mem::take(&mut steps)));
                    }
                    let first = chain.is_empty();
                    chain.push(self.convert(other, at_root && first, depth)?);
                }
            }
        }
        if !steps.is_empty() {
            chain.push(Expr::Path(steps));
        }
        Ok(match chain.len() {
            0 => Expr::Current,
            1 => chain.swap_remove(0),
            _ => Expr::Chain(chain),
        })
    }
}

const fn is_step(ast: &Ast) -> bool {
    matches!(ast, Ast::Field { .. } | Ast::Index { .. })
}

/// The parts of nested sub-expressions in the order in which they apply; `@` adds nothing.
fn flatten<'a>(ast: &'a Ast, parts: &mut Vec<&'a Ast>) {
    match ast {
        Ast::Subexpr { lhs, rhs, .. } => {
            flatten(lhs, parts);
            flatten(rhs, parts);
        }
        Ast::Identity { .. } => {}
        other => parts.push(other),
    }
}

fn literal(value: &jmespath::Variable) -> Result<Node<'static>, Refusal> {
    let value = serde_json::to_value(value).map_err(|error| ("invalid_expression", error.to_string()))?;
    Ok(Node::from(&value))
}

const fn comparison(comparator: &AstComparator) -> Comparator {
    match comparator {
        AstComparator::Equal => Comparator::Equal,
        AstComparator::NotEqual => Comparator::NotEqual,
        AstComparator::LessThan => Comparator::Less,
        AstComparator::LessThanEqual => Comparator::LessOrEqual,
        AstComparator::GreaterThan => Comparator::Greater,
        AstComparator::GreaterThanEqual => Comparator::GreaterOrEqual,
    }
}
