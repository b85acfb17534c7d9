//! What a mapping may cost. Expressions and payloads come from users: every number here stands between one of
//! them and the process.

/// The longest expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4_096;

/// How deep an expression's brackets may nest.
pub const MAX_EXPRESSION_NESTING: usize = 64;

/// How deep parentheses may nest in JSONPath, whose parser tries alternatives again at each level.
pub(crate) const MAX_JSONPATH_PARENTHESES: usize = 6;

/// How many of the operators that make a parser recurse an expression may hold.
pub(crate) const MAX_EXPRESSION_OPERATORS: usize = 512;

/// How deep a compiled expression's tree may be.
pub(crate) const MAX_TREE_DEPTH: usize = 96;

/// The longest script, in bytes.
pub const MAX_SCRIPT_BYTES: usize = 64 * 1_024;

/// How many outputs a mapping may have.
pub const MAX_OUTPUTS: usize = 100;

/// How many fields an output may have.
pub const MAX_FIELDS: usize = 200;

/// How many entries a lookup may have.
pub const MAX_LOOKUP_ENTRIES: usize = 10_000;

/// How deep a payload may nest.
pub const MAX_PAYLOAD_DEPTH: usize = 128;

/// How many records one event may hold.
pub const MAX_RECORDS: usize = 10_000;

/// How many objects one event may become.
pub const MAX_OBJECTS: usize = 10_000;

/// The largest value of one output field, in bytes of its text.
pub const MAX_VALUE_BYTES: usize = 256 * 1_024;

/// How many steps the expressions of one event may take together: a step is a value visited or made, or eight
/// bytes of output.
pub const MAX_STEPS: u64 = 4_000_000;

/// How many warnings a report holds.
pub(crate) const MAX_WARNINGS: usize = 200;

/// The stack of the thread that parses expressions: the parsers recurse for each level and each operator.
pub(crate) const PARSER_STACK_BYTES: usize = 64 * 1_024 * 1_024;

/// The memory that one regular expression may compile to, in bytes.
pub(crate) const MAX_REGEX_BYTES: usize = 256 * 1_024;
