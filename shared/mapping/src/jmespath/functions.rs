//! The built-in functions (JMESPath, "Built-in Functions"), and three of ours for keys that are to be the same
//! whoever writes them: `lower`, `trim` and `split`, which give null for null. Texts and lists that a function
//! makes are paid for in steps.

use std::{cmp::Ordering, rc::Rc};

use super::{Expr, evaluate};
use crate::{
    expr::{EvalError, Scope},
    json::Node,
    value::{Kind, Val, to_json},
};

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal ..= $most:expr),* $(,)?) => {
        /// A built-in function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Function { $($variant),* }

        impl Function {
            /// The function of that name.
            pub(crate) fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// How many arguments it takes at least and at most.
            pub(crate) const fn arity(self) -> (usize, usize) {
                match self { $(Self::$variant => ($least, $most)),* }
            }
        }
    };
}

functions! {
    Abs "abs" 1..=1, Avg "avg" 1..=1, Ceil "ceil" 1..=1, Contains "contains" 2..=2, EndsWith "ends_with" 2..=2,
    Floor "floor" 1..=1, Join "join" 2..=2, Keys "keys" 1..=1, Length "length" 1..=1, Lower "lower" 1..=1,
    Map "map" 2..=2, Max "max" 1..=1, MaxBy "max_by" 2..=2, Merge "merge" 1..=64, Min "min" 1..=1, MinBy "min_by" 2..=2,
    NotNull "not_null" 1..=64, Reverse "reverse" 1..=1, Sort "sort" 1..=1, SortBy "sort_by" 2..=2,
    Split "split" 2..=2, StartsWith "starts_with" 2..=2, Sum "sum" 1..=1, ToArray "to_array" 1..=1, ToNumber "to_number" 1..=1,
    ToString "to_string" 1..=1, Trim "trim" 1..=1, Type "type" 1..=1, Values "values" 1..=1,
}

/// The value of a call.
pub(crate) fn call<'n>(
    function: Function,
    args: &[Val<'n>],
    scope: &Scope<'n>,
) -> Result<Val<'n>, EvalError> {
    args.iter().for_each(|arg| scope.used(arg));
    let call = Call {
        function,
        args,
        scope,
    };
    match function {
        Function::Abs => Ok(Val::Number(call.number(0)?.abs())),
        Function::Ceil => Ok(Val::Number(call.number(0)?.ceil())),
        Function::Floor => Ok(Val::Number(call.number(0)?.floor())),
        Function::Avg | Function::Sum => call.total(),
        Function::Contains => call.contains(),
        Function::EndsWith => Ok(Val::Bool(call.text(0)?.ends_with(call.text(1)?))),
        Function::StartsWith => Ok(Val::Bool(call.text(0)?.starts_with(call.text(1)?))),
        Function::Join => call.join(),
        Function::Keys => Ok(Val::list(
            call.members(0)?
                .iter()
                .map(|(name, _)| Val::text(*name))
                .collect(),
        )),
        Function::Values => Ok(Val::list(
            call.members(0)?.into_iter().map(|(_, value)| value).collect(),
        )),
        Function::Length => call.length(),
        Function::Map => {
            let results = call.applied(0, 1)?;
            Ok(Val::list(results.into_iter().map(|(_, result)| result).collect()))
        }
        Function::Max => Ok(call.sorted(0)?.pop().unwrap_or(Val::Null)),
        Function::Min => Ok(call.sorted(0)?.into_iter().next().unwrap_or(Val::Null)),
        Function::Sort => Ok(Val::list(call.sorted(0)?)),
        Function::MaxBy => Ok(call.sorted_by()?.pop().unwrap_or(Val::Null)),
        Function::MinBy => Ok(call.sorted_by()?.into_iter().next().unwrap_or(Val::Null)),
        Function::SortBy => Ok(Val::list(call.sorted_by()?)),
        Function::Merge => call.merge(),
        Function::NotNull => Ok(args
            .iter()
            .find(|arg| !arg.is_null())
            .cloned()
            .unwrap_or(Val::Null)),
        Function::Reverse => call.reverse(),
        Function::ToArray => {
            let arg = call.arg(0);
            Ok(if arg.kind() == Kind::List {
                arg
            } else {
                Val::list(vec![arg])
            })
        }
        Function::Lower | Function::Split | Function::Trim if call.arg(0).is_null() => Ok(Val::Null),
        Function::Lower => call.made(call.text(0)?.to_lowercase()),
        Function::Trim => call.made(call.text(0)?.trim().to_owned()),
        Function::Split => call.split(),
        Function::ToNumber => Ok(call.to_number()),
        Function::ToString => call.to_text(),
        Function::Type => Ok(Val::text(call.arg(0).kind().as_str())),
    }
}

/// Writes `value` as text: a text as it is, all else as JSON.
fn json_text(value: &Val<'_>) -> Result<String, EvalError> {
    match value.as_text() {
        Some(text) => Ok(text.to_owned()),
        None => Ok(to_json(value)
            .map_err(|fault| EvalError::Text(fault.code()))?
            .to_string()),
    }
}

struct Call<'c, 'n> {
    function: Function,
    args: &'c [Val<'n>],
    scope: &'c Scope<'n>,
}

impl<'n> Call<'_, 'n> {
    fn arg(&self, index: usize) -> Val<'n> {
        self.args.get(index).cloned().unwrap_or(Val::Null)
    }

    fn refuse(&self, index: usize) -> EvalError {
        EvalError::argument(self.function.name(), index + 1, self.arg(index).kind())
    }

    fn number(&self, index: usize) -> Result<f64, EvalError> {
        self.arg(index).as_number().ok_or_else(|| self.refuse(index))
    }

    fn text(&self, index: usize) -> Result<&str, EvalError> {
        self.args
            .get(index)
            .and_then(Val::as_text)
            .ok_or_else(|| self.refuse(index))
    }

    fn items(&self, index: usize) -> Result<Vec<Val<'n>>, EvalError> {
        let list = self
            .args
            .get(index)
            .and_then(Val::items)
            .ok_or_else(|| self.refuse(index))?;
        self.scope.spend(list.size_hint().0 as u64)?;
        Ok(list.collect())
    }

    fn members(&self, index: usize) -> Result<Vec<(&'n str, Val<'n>)>, EvalError> {
        let members = self
            .args
            .get(index)
            .and_then(Val::members)
            .ok_or_else(|| self.refuse(index))?;
        self.scope.spend(members.size_hint().0 as u64)?;
        Ok(members.collect())
    }

    /// Pays for a text of so many bytes.
    fn pay_text(&self, bytes: usize) -> Result<(), EvalError> {
        self.scope.spend(bytes as u64 / 32)
    }

    fn total(&self) -> Result<Val<'n>, EvalError> {
        let items = self.items(0)?;
        let mut sum = 0.0;
        for item in &items {
            let kind = item.kind();
            sum += item
                .as_number()
                .ok_or(EvalError::argument(self.function.name(), 1, kind))?;
        }
        if self.function == Function::Sum {
            return Ok(Val::Number(sum));
        }
        Ok(if items.is_empty() {
            Val::Null
        } else {
            Val::Number(sum / items.len() as f64)
        })
    }

    fn contains(&self) -> Result<Val<'n>, EvalError> {
        let needle = self.arg(1);
        if let Ok(text) = self.text(0) {
            return Ok(Val::Bool(
                needle.as_text().is_some_and(|needle| text.contains(needle)),
            ));
        }
        for item in self.items(0)? {
            if item.equals(&needle, self.scope)? {
                return Ok(Val::Bool(true));
            }
        }
        Ok(Val::Bool(false))
    }

    fn join(&self) -> Result<Val<'n>, EvalError> {
        let glue = self.text(0)?;
        let mut joined = String::new();
        for (index, item) in self.items(1)?.iter().enumerate() {
            let text = item
                .as_text()
                .ok_or_else(|| EvalError::argument("join", 2, item.kind()))?;
            self.pay_text(glue.len() + text.len())?;
            if index > 0 {
                joined.push_str(glue);
            }
            joined.push_str(text);
        }
        Ok(Val::text(joined))
    }

    /// A text that the function made.
    fn made(&self, text: String) -> Result<Val<'n>, EvalError> {
        self.pay_text(text.len())?;
        Ok(Val::text(text))
    }

    fn split(&self) -> Result<Val<'n>, EvalError> {
        let (text, separator) = (self.text(0)?, self.text(1)?);
        let mut parts = Vec::new();
        for part in text.split(separator) {
            self.scope.spend(1 + part.len() as u64 / 32)?;
            parts.push(Val::text(part.to_owned()));
        }
        Ok(Val::list(parts))
    }

    fn length(&self) -> Result<Val<'n>, EvalError> {
        let arg = self.arg(0);
        let length = match arg.kind() {
            Kind::Text => arg.as_text().map(|text| text.chars().count()),
            Kind::List => arg.list_len(),
            Kind::Map => arg.members().map(|members| members.size_hint().0),
            _ => None,
        };
        length
            .map(|length| Val::Number(length as f64))
            .ok_or_else(|| self.refuse(0))
    }

    /// The expression argument applied to each item of the list argument: item and result.
    fn applied(&self, expr: usize, list: usize) -> Result<Vec<(Val<'n>, Val<'n>)>, EvalError> {
        let Val::Expr(expr) = self.arg(expr) else {
            return Err(self.refuse(expr));
        };
        let apply = |item: Val<'n>| Ok((item.clone(), evaluate(expr as &'n Expr, &item, self.scope)?));
        self.items(list)?.into_iter().map(apply).collect()
    }

    fn sorted(&self, list: usize) -> Result<Vec<Val<'n>>, EvalError> {
        let keyed = self
            .items(list)?
            .into_iter()
            .map(|item| (item.clone(), item))
            .collect();
        self.sort(keyed)
    }

    fn sorted_by(&self) -> Result<Vec<Val<'n>>, EvalError> {
        let keyed = self.applied(1, 0)?;
        keyed.iter().for_each(|(_, key)| self.scope.used(key));
        self.sort(keyed)
    }

    /// Sorts by the keys, which are all numbers or all texts.
    fn sort(&self, mut keyed: Vec<(Val<'n>, Val<'n>)>) -> Result<Vec<Val<'n>>, EvalError> {
        let kind = keyed.first().map_or(Kind::Number, |(_, key)| key.kind());
        let sortable = matches!(kind, Kind::Number | Kind::Text);
        if let Some((_, odd)) = keyed.iter().find(|(_, key)| !sortable || key.kind() != kind) {
            return Err(EvalError::argument(self.function.name(), 1, odd.kind()));
        }
        self.scope.spend(keyed.len() as u64 * 16)?;
        keyed.sort_by(|(_, one), (_, other)| one.order(other).unwrap_or(Ordering::Equal));
        Ok(keyed.into_iter().map(|(item, _)| item).collect())
    }

    fn merge(&self) -> Result<Val<'n>, EvalError> {
        let mut merged: Vec<(&'n str, Val<'n>)> = Vec::new();
        for index in 0..self.args.len() {
            for (name, value) in self.members(index)? {
                self.scope.spend(merged.len() as u64 / 16)?;
                match merged.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, place)) => *place = value,
                    None => merged.push((name, value)),
                }
            }
        }
        Ok(Val::Map(Rc::new(merged)))
    }

    fn reverse(&self) -> Result<Val<'n>, EvalError> {
        if let Ok(text) = self.text(0) {
            self.pay_text(text.len())?;
            return Ok(Val::text(text.chars().rev().collect::<String>()));
        }
        let mut items = self.items(0)?;
        items.reverse();
        Ok(Val::list(items))
    }

    fn to_number(&self) -> Val<'n> {
        match self.arg(0) {
            number @ (Val::Number(_) | Val::Node(Node::Number(_))) => number,
            other => {
                let parsed = other.as_text().and_then(|text| text.trim().parse::<f64>().ok());
                parsed
                    .filter(|number| number.is_finite())
                    .map_or(Val::Null, Val::Number)
            }
        }
    }

    fn to_text(&self) -> Result<Val<'n>, EvalError> {
        let text = json_text(&self.arg(0))?;
        self.pay_text(text.len())?;
        Ok(Val::text(text))
    }
}
