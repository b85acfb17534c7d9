//! What a request may ask for: how long its text is, how deep it goes, how much it costs. All of it is known before
//! anything is validated or run, in time that grows with the text alone.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use async_graphql::{
    Name, Request, ServerError, ServerResult, Value, Variables,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest},
    parser::types::{ExecutableDocument, Field, OperationType, Selection, SelectionSet},
};
use salvo::http::StatusCode;

use super::error::of_request;
use crate::problem::Problem;

/// The longest text, in bytes.
pub(super) const MAX_TEXT: usize = 64 * 1024;
/// How deep brackets of any kind may be nested in a text: the parser goes down with each.
const MAX_NESTING: usize = 48;
/// How deep fields and fragments may be nested.
pub(super) const MAX_DEPTH: usize = 20;
/// What a request may cost: one for each field, those of a page once for each object that it may hold.
pub(super) const MAX_COST: usize = 20_000;
/// Fields that may have another name than their own.
pub(super) const MAX_ALIASES: usize = 30;
/// Fields at the root.
pub(super) const MAX_ROOT_FIELDS: usize = 20;
/// Directives in a text.
pub(super) const MAX_DIRECTIVES: usize = 30;
/// The objects of a page whose size is not given.
const PAGE: usize = 50;
/// Lists of the schema's own description, which lead to each other without end.
const LISTS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];
/// How often one of them may be within another.
const MAX_LISTS: usize = 2;

/// Keeps requests within the limits.
pub(super) struct Limits {
    paged: Arc<BTreeSet<String>>,
}

impl Limits {
    /// Limits for a schema with these fields that give pages.
    pub(super) fn new(paged: BTreeSet<String>) -> Self {
        Self {
            paged: Arc::new(paged),
        }
    }
}

impl ExtensionFactory for Limits {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Guard {
            paged: self.paged.clone(),
        })
    }
}

struct Guard {
    paged: Arc<BTreeSet<String>>,
}

#[async_graphql::async_trait::async_trait]
impl Extension for Guard {
    /// The library looks at a text as it parses it, and follows each fragment as often as it is used: what is added up
    /// here is refused before that.
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        mut request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        check_text(&request.query)?;
        let variables = request.variables.clone();
        let document = request.parsed_query()?;
        Survey::new(document, &variables, &self.paged).check()?;
        next.run(ctx, request).await
    }
}

fn refused(message: String) -> ServerError {
    of_request(&Problem::new(StatusCode::BAD_REQUEST, "query_too_large", message))
}

fn within(what: &str, found: usize, most: usize) -> ServerResult<()> {
    if found > most {
        return Err(refused(format!(
            "the request has {what} of {found}; at most {most} is allowed"
        )));
    }
    Ok(())
}

/// Checks a text before it is parsed.
pub(super) fn check_text(text: &str) -> ServerResult<()> {
    within("a text", text.len(), MAX_TEXT)?;
    let (mut deepest, mut depth) = (0_usize, 0_usize);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'#' => at += line(&bytes[at..]),
            b'"' => at += quoted(&bytes[at..]),
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
                at += 1;
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ => at += 1,
        }
    }
    within("a nesting", deepest, MAX_NESTING)
}

/// The length of a comment.
fn line(rest: &[u8]) -> usize {
    rest.iter()
        .position(|byte| matches!(byte, b'\n' | b'\r'))
        .unwrap_or(rest.len())
}

/// The length of a text in quotes.
fn quoted(rest: &[u8]) -> usize {
    if let Some(block) = rest.strip_prefix(b"\"\"\"") {
        let mut at = 0;
        while at < block.len() {
            if block[at..].starts_with(b"\\\"\"\"") {
                at += 4;
            } else if block[at..].starts_with(b"\"\"\"") {
                return at + 6;
            } else {
                at += 1;
            }
        }
        return rest.len();
    }
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            // It has no end, which the parser will say.
            b'\n' => return at,
            _ => at += 1,
        }
    }
    rest.len()
}

/// What a selection comes to.
#[derive(Clone, Copy, Default)]
struct Sum {
    cost: usize,
    depth: usize,
    aliases: usize,
    directives: usize,
    /// How often a list of the schema's description is within another.
    lists: usize,
    /// Fields of the selection itself.
    fields: usize,
}

impl Sum {
    fn beside(self, other: Self) -> Self {
        Self {
            cost: self.cost.saturating_add(other.cost),
            depth: self.depth.max(other.depth),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            lists: self.lists.max(other.lists),
            fields: self.fields.saturating_add(other.fields),
        }
    }
}

/// Adds a document up. Each fragment is added up once, however often it is used.
struct Survey<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    paged: &'a BTreeSet<String>,
    /// Fragments that are added up; nothing for one that is being added up: if it uses itself, validation says so.
    fragments: HashMap<&'a str, Option<Sum>>,
    /// How deep the survey is in selections: each is a step down the stack.
    inside: usize,
}

impl<'a> Survey<'a> {
    fn new(document: &'a ExecutableDocument, variables: &'a Variables, paged: &'a BTreeSet<String>) -> Self {
        Self {
            document,
            variables,
            paged,
            fragments: HashMap::new(),
            inside: 0,
        }
    }

    fn check(mut self) -> ServerResult<()> {
        for (_, operation) in self.document.operations.iter() {
            let mut sum = self.selection(&operation.node.selection_set.node)?;
            sum.directives = sum.directives.saturating_add(operation.node.directives.len());
            within("a depth", sum.depth, MAX_DEPTH)?;
            within("a cost", sum.cost, MAX_COST)?;
            within("a number of aliases", sum.aliases, MAX_ALIASES)?;
            within("a number of directives", sum.directives, MAX_DIRECTIVES)?;
            within("a number of fields at its root", sum.fields, MAX_ROOT_FIELDS)?;
            within("a nesting of the schema's lists", sum.lists, MAX_LISTS)?;
            if operation.node.ty == OperationType::Subscription {
                within("a number of subscriptions", sum.fields, 1)?;
            }
        }
        // What no operation uses is validated, too.
        for name in self.document.fragments.keys() {
            within("a cost", self.fragment(name)?.cost, MAX_COST)?;
        }
        Ok(())
    }

    fn selection(&mut self, set: &'a SelectionSet) -> ServerResult<Sum> {
        within("a depth", self.inside, MAX_DEPTH)?;
        self.inside += 1;
        let mut sum = Sum::default();
        for item in &set.items {
            let mut part = match &item.node {
                Selection::Field(field) => self.field(&field.node)?,
                Selection::InlineFragment(inline) => self.selection(&inline.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => {
                    self.fragment(spread.node.fragment_name.node.as_str())?
                }
            };
            part.directives = part.directives.saturating_add(item.node.directives().len());
            sum = sum.beside(part);
        }
        self.inside -= 1;
        Ok(sum)
    }

    fn field(&mut self, field: &'a Field) -> ServerResult<Sum> {
        let inside = match &field.selection_set.node {
            set if set.items.is_empty() => Sum::default(),
            set => self.selection(set)?,
        };
        let name = field.name.node.as_str();
        let times = if self.paged.contains(name) {
            self.page(field)
        } else {
            1
        };
        Ok(Sum {
            cost: inside.cost.saturating_mul(times).saturating_add(1),
            depth: inside.depth + 1,
            aliases: inside.aliases.saturating_add(usize::from(field.alias.is_some())),
            directives: inside.directives,
            lists: inside.lists + usize::from(LISTS.contains(&name)),
            fields: 1,
        })
    }

    /// How many objects a page may hold.
    fn page(&self, field: &Field) -> usize {
        let given = field.get_argument("first").map(|value| value.node.clone());
        let known = |name: Name| self.variable(&name).ok_or(());
        let number = match given.map(|value| value.into_const_with(known)) {
            Some(Ok(Value::Number(number))) => number.as_u64(),
            _ => None,
        };
        number.map_or(PAGE, |number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A variable as it was given, or else the largest number that an operation has for it.
    fn variable(&self, name: &Name) -> Option<Value> {
        if let Some(given) = self.variables.get(name) {
            return Some(given.clone());
        }
        let operations = self.document.operations.iter();
        let definitions = operations.flat_map(|(_, operation)| &operation.node.variable_definitions);
        definitions
            .filter(|definition| definition.node.name.node == *name)
            .filter_map(|definition| definition.node.default_value.as_ref())
            .map(|value| value.node.clone())
            .max_by_key(|value| match value {
                Value::Number(number) => number.as_u64().unwrap_or_default(),
                _ => 0,
            })
    }

    fn fragment(&mut self, name: &str) -> ServerResult<Sum> {
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else {
            return Ok(Sum::default());
        };
        match self.fragments.get(name.as_str()) {
            Some(known) => Ok(known.unwrap_or_default()),
            None => {
                self.fragments.insert(name.as_str(), None);
                let sum = self.selection(&fragment.node.selection_set.node)?;
                self.fragments.insert(name.as_str(), Some(sum));
                Ok(sum)
            }
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
