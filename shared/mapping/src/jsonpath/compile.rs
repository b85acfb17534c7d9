//! From the parser's query to ours: leading names become a slot, regular expressions are compiled, what this
//! crate does not serve is refused.

use jsonpath_rust::parser::{
    model::{
        Comparable, Comparison, Filter as AstFilter, FilterAtom, FnArg, Literal, Segment as AstSegment,
        Selector as AstSelector, SingularQuery, SingularQuerySegment, Test, TestFunction,
    },
    parse_json_path,
};
use regex::{Regex, RegexBuilder};

use super::{Filter, Operand, Query, Relative, Segment, Selector};
use crate::{expr::SlotTable, jmespath::Comparator, json::Node, limits::MAX_REGEX_BYTES};

/// What is wrong with an expression: code and detail.
type Refusal = (&'static str, String);

fn invalid(detail: impl Into<String>) -> Refusal {
    ("invalid_expression", detail.into())
}

/// Compiles a query. `slots` is where its path is asked for if it is applied to the record.
///
/// Runs on the parser's thread: the parser calls itself for each level of nesting.
pub(crate) fn compile(text: &str, slots: Option<&mut SlotTable>) -> Result<Query, Refusal> {
    let parsed = parse_json_path(text.trim()).map_err(|error| invalid(one_line(&error.to_string())))?;
    let mut converter = Converter { absolute: false };
    let mut segments = converter.segments(&parsed.segments)?;
    let singular = segments.iter().all(is_singular);
    let (mut start, mut root) = (None, None);
    if let Some(slots) = slots {
        let names = segments
            .iter()
            .take_while(|segment| name_of(segment).is_some())
            .count();
        let path = segments
            .drain(..names)
            .filter_map(|segment| name_of(&segment))
            .collect();
        start = Some(slots.ask(path));
        root = converter.absolute.then(|| slots.ask(Vec::new()));
    }
    Ok(Query {
        start,
        segments,
        root,
        singular,
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn name_of(segment: &Segment) -> Option<String> {
    match segment.selectors.as_slice() {
        [Selector::Name(name)] if !segment.descend => Some(name.clone()),
        _ => None,
    }
}

fn is_singular(segment: &Segment) -> bool {
    !segment.descend
        && matches!(
            segment.selectors.as_slice(),
            [Selector::Name(_) | Selector::Index(_)]
        )
}

struct Converter {
    /// Whether a filter looks at the whole record.
    absolute: bool,
}

impl Converter {
    fn segments(&mut self, segments: &[AstSegment]) -> Result<Vec<Segment>, Refusal> {
        segments.iter().map(|segment| self.segment(segment)).collect()
    }

    fn segment(&mut self, segment: &AstSegment) -> Result<Segment, Refusal> {
        match segment {
            AstSegment::Descendant(inner) => {
                let inner = self.segment(inner)?;
                Ok(Segment {
                    descend: true,
                    selectors: inner.selectors,
                })
            }
            AstSegment::Selector(selector) => Ok(Segment {
                descend: false,
                selectors: vec![self.selector(selector)?],
            }),
            AstSegment::Selectors(selectors) => {
                let selectors = selectors
                    .iter()
                    .map(|selector| self.selector(selector))
                    .collect::<Result<_, _>>()?;
                Ok(Segment {
                    descend: false,
                    selectors,
                })
            }
        }
    }

    fn selector(&mut self, selector: &AstSelector) -> Result<Selector, Refusal> {
        Ok(match selector {
            AstSelector::Name(name) => Selector::Name(name.clone()),
            AstSelector::Wildcard => Selector::Wildcard,
            AstSelector::Index(index) => Selector::Index(*index),
            AstSelector::Slice(start, end, step) => Selector::Slice {
                start: *start,
                end: *end,
                step: step.unwrap_or(1),
            },
            AstSelector::Filter(filter) => Selector::Filter(self.filter(filter)?),
        })
    }

    fn filter(&mut self, filter: &AstFilter) -> Result<Filter, Refusal> {
        match filter {
            AstFilter::Or(filters) => self.filters(filters).map(Filter::Any),
            AstFilter::And(filters) => self.filters(filters).map(Filter::All),
            AstFilter::Atom(atom) => self.atom(atom),
        }
    }

    fn filters(&mut self, filters: &[AstFilter]) -> Result<Vec<Filter>, Refusal> {
        filters.iter().map(|filter| self.filter(filter)).collect()
    }

    fn atom(&mut self, atom: &FilterAtom) -> Result<Filter, Refusal> {
        let (filter, not) = match atom {
            FilterAtom::Filter { expr, not } => (self.filter(expr)?, *not),
            FilterAtom::Test { expr, not } => (self.test(expr)?, *not),
            FilterAtom::Comparison(comparison) => (self.comparison(comparison)?, false),
        };
        Ok(if not {
            Filter::Not(Box::new(filter))
        } else {
            filter
        })
    }

    fn test(&mut self, test: &Test) -> Result<Filter, Refusal> {
        match test {
            Test::RelQuery(_) | Test::AbsQuery(_) => Ok(Filter::Exists(self.relative(test)?)),
            Test::Function(function) => match function.as_ref() {
                TestFunction::Match(subject, pattern) => self.matches(subject, pattern, true),
                TestFunction::Search(subject, pattern) => self.matches(subject, pattern, false),
                other => Err(invalid(format!("`{other}` is no test by itself"))),
            },
        }
    }

    fn matches(&mut self, subject: &FnArg, pattern: &FnArg, whole: bool) -> Result<Filter, Refusal> {
        let FnArg::Literal(Literal::String(pattern)) = pattern else {
            return Err((
                "unsupported",
                "the pattern of match() and search() is a literal text".to_owned(),
            ));
        };
        let regex = regex(pattern, whole).map_err(|error| invalid(one_line(&error.to_string())))?;
        Ok(Filter::Matches(self.argument(subject)?, Box::new(regex)))
    }

    fn comparison(&mut self, comparison: &Comparison) -> Result<Filter, Refusal> {
        let comparator = match comparison {
            Comparison::Eq(..) => Comparator::Equal,
            Comparison::Ne(..) => Comparator::NotEqual,
            Comparison::Gt(..) => Comparator::Greater,
            Comparison::Gte(..) => Comparator::GreaterOrEqual,
            Comparison::Lt(..) => Comparator::Less,
            Comparison::Lte(..) => Comparator::LessOrEqual,
        };
        let (left, right) = comparison.vals();
        Ok(Filter::Compare(
            comparator,
            self.comparable(left)?,
            self.comparable(right)?,
        ))
    }

    fn comparable(&mut self, comparable: &Comparable) -> Result<Operand, Refusal> {
        match comparable {
            Comparable::Literal(literal) => Ok(Operand::Literal(literal_node(literal))),
            Comparable::Function(function) => self.function(function),
            Comparable::SingularQuery(SingularQuery::Current(steps)) => {
                Ok(Operand::Singular(singular(steps, false)))
            }
            Comparable::SingularQuery(SingularQuery::Root(steps)) => {
                self.absolute = true;
                Ok(Operand::Singular(singular(steps, true)))
            }
        }
    }

    fn function(&mut self, function: &TestFunction) -> Result<Operand, Refusal> {
        match function {
            TestFunction::Length(argument) => self
                .argument(argument)
                .map(|inner| Operand::Length(Box::new(inner))),
            TestFunction::Count(FnArg::Test(test)) => self.relative(test).map(Operand::Count),
            TestFunction::Value(FnArg::Test(test)) => self.relative(test).map(Operand::Value),
            other => Err(("unknown_function", format!("`{other}` is not served here"))),
        }
    }

    /// An argument that is a value: a literal, a query for a single place, or a function's result.
    fn argument(&mut self, argument: &FnArg) -> Result<Operand, Refusal> {
        match argument {
            FnArg::Literal(literal) => Ok(Operand::Literal(literal_node(literal))),
            FnArg::Test(test) => match test.as_ref() {
                Test::Function(function) => self.function(function),
                query => {
                    let query = self.relative(query)?;
                    if query.segments.iter().all(is_singular) {
                        Ok(Operand::Singular(query))
                    } else {
                        Err(invalid(
                            "a function's argument is a query for a single place, such as @.a.b",
                        ))
                    }
                }
            },
            FnArg::Filter(_) => Err(invalid("a function's argument cannot be a condition")),
        }
    }

    fn relative(&mut self, test: &Test) -> Result<Relative, Refusal> {
        match test {
            Test::RelQuery(segments) => Ok(Relative {
                absolute: false,
                segments: self.segments(segments)?,
            }),
            Test::AbsQuery(query) => {
                self.absolute = true;
                Ok(Relative {
                    absolute: true,
                    segments: self.segments(&query.segments)?,
                })
            }
            Test::Function(_) => Err(invalid("a query is needed here, such as @.a[*]")),
        }
    }
}

fn singular(steps: &[SingularQuerySegment], absolute: bool) -> Relative {
    let segment = |step: &SingularQuerySegment| {
        let selector = match step {
            SingularQuerySegment::Index(index) => Selector::Index(*index),
            SingularQuerySegment::Name(name) => Selector::Name(name.clone()),
        };
        Segment {
            descend: false,
            selectors: vec![selector],
        }
    };
    Relative {
        absolute,
        segments: steps.iter().map(segment).collect(),
    }
}

fn literal_node(literal: &Literal) -> Node<'static> {
    match literal {
        Literal::Int(number) => Node::Number(number.to_string().into()),
        Literal::Float(number) => Node::Number(number.to_string().into()),
        Literal::String(text) => Node::Text(text.clone().into()),
        Literal::Bool(bool) => Node::Bool(*bool),
        Literal::Null => Node::Null,
    }
}

fn regex(pattern: &str, whole: bool) -> Result<Regex, regex::Error> {
    let pattern = if whole {
        format!("^(?:{pattern})$")
    } else {
        pattern.to_owned()
    };
    RegexBuilder::new(&pattern)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .build()
}
