//! The limits that come before any parser sees an expression.

use halcyon_domain::{error::InputError, mapping::Language};

use crate::limits::{
    MAX_EXPRESSION_BYTES, MAX_EXPRESSION_NESTING, MAX_EXPRESSION_OPERATORS, MAX_JSONPATH_PARENTHESES,
};

/// Refuses an expression that is too long, nests too deep, or would make its parser run away.
pub(crate) fn check(text: &str, language: Language, pointer: &str) -> Result<(), InputError> {
    let refuse = |code: &str, detail: String| Err(InputError::new(pointer, code, detail));
    if text.len() > MAX_EXPRESSION_BYTES {
        return refuse(
            "too_long",
            format!("an expression is at most {MAX_EXPRESSION_BYTES} bytes long"),
        );
    }
    if text.trim().is_empty() {
        return refuse("required", "the expression is empty".to_owned());
    }
    let shape = Shape::of(text, language);
    if shape.nesting > MAX_EXPRESSION_NESTING {
        return refuse(
            "too_deep",
            format!("an expression nests at most {MAX_EXPRESSION_NESTING} levels"),
        );
    }
    if shape.operators > MAX_EXPRESSION_OPERATORS {
        return refuse(
            "too_complex",
            format!("an expression has at most {MAX_EXPRESSION_OPERATORS} operators"),
        );
    }
    if language == Language::Jsonpath {
        if shape.parentheses > MAX_JSONPATH_PARENTHESES {
            let detail = format!("parentheses nest at most {MAX_JSONPATH_PARENTHESES} levels in JSONPath");
            return refuse("too_deep", detail);
        }
        if shape.descents > 1 {
            let detail = "an expression has at most one recursive descent (`..`): more cost exponential time";
            return refuse("too_complex", detail.to_owned());
        }
    }
    Ok(())
}

/// What can be counted without parsing.
#[derive(Default)]
struct Shape {
    /// The most brackets of any kind open at once.
    nesting: usize,
    /// The most parentheses open at once.
    parentheses: usize,
    /// Brackets and prefix operators: what makes a parser call itself.
    operators: usize,
    /// Recursive descents.
    descents: usize,
}

impl Shape {
    fn of(text: &str, language: Language) -> Self {
        let mut shape = Self::default();
        let (mut open, mut parentheses) = (0_usize, 0_usize);
        let mut quote = None;
        let mut escaped = false;
        let mut previous = ' ';
        for character in text.chars() {
            if let Some(end) = quote {
                if escaped {
                    escaped = false;
                } else if character == '\\' {
                    escaped = true;
                } else if character == end {
                    quote = None;
                }
                continue;
            }
            match character {
                '\'' | '"' => quote = Some(character),
                '`' if language == Language::Jmespath => quote = Some(character),
                '(' | '[' | '{' => {
                    open += 1;
                    parentheses += usize::from(character == '(');
                    shape.operators += 1;
                }
                ')' | ']' | '}' => {
                    open = open.saturating_sub(1);
                    parentheses = parentheses.saturating_sub(usize::from(character == ')'));
                }
                '!' | '&' | '|' | '*' | '<' | '>' | '=' => shape.operators += 1,
                '.' if previous == '.' => shape.descents += 1,
                _ => {}
            }
            shape.nesting = shape.nesting.max(open);
            shape.parentheses = shape.parentheses.max(parentheses);
            previous = character;
        }
        shape
    }
}
