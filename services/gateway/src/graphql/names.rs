//! From the names of REST to those of GraphQL: `created_at` is `createdAt`, `rolled_back` is `ROLLED_BACK`.

/// The name of a field or argument.
pub(crate) fn field(json: &str) -> String {
    let mut name = String::with_capacity(json.len());
    let mut upper = false;
    for character in json.chars() {
        match character {
            '_' | '-' | '.' => upper = !name.is_empty(),
            letter if upper => {
                name.extend(letter.to_uppercase());
                upper = false;
            }
            letter => name.push(letter),
        }
    }
    name
}

/// The name of a field that holds the identifier of another object: the object itself may be at the plain name.
pub(crate) fn reference(json: &str) -> String {
    let name = field(json);
    if name == "id" || name.ends_with("Id") {
        name
    } else {
        name + "Id"
    }
}

/// The name of an enumeration's value.
pub(crate) fn word(json: &str) -> String {
    let upper = json.to_uppercase();
    upper
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '_'
            }
        })
        .collect()
}

/// The name of a type, by that of its JSON schema.
pub(super) fn type_of(schema: &str) -> String {
    match schema {
        "ConnectorSpec" => "Connector".to_owned(),
        // What a mapping makes, beside what is stored of it.
        "Alert" | "Entity" | "Relationship" => format!("Mapped{schema}"),
        other => other.strip_prefix("Stored").unwrap_or(other).to_owned(),
    }
}

/// The field that REST sorts by, with its `-`: the other way round than [`field`].
pub(super) fn sort(given: &str) -> String {
    let mut name = String::with_capacity(given.len());
    for character in given.chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_habits_of_graphql() {
        assert_eq!(field("next_attempt_at"), "nextAttemptAt");
        assert_eq!(
            (reference("project"), reference("user_id")),
            ("projectId".into(), "userId".into())
        );
        assert_eq!(word("rolled_back"), "ROLLED_BACK");
        assert_eq!(
            (sort("-updatedAt"), sort("updated_at")),
            ("-updated_at".into(), "updated_at".into())
        );
        assert_eq!(type_of("StoredAlert"), "Alert");
    }
}
