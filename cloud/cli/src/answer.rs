//! Answers of the cloud, read with the types that its handlers write.

use anyhow::anyhow;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::Failure;

/// Reads what an answer of the cloud says.
///
/// # Errors
/// [`Failure::Failed`] when something is missing, or has a value that this program does not know.
pub(crate) fn read<T: DeserializeOwned>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(answer).map_err(|error| {
        Failure::Failed(anyhow!(
            "this program does not understand the answer of the cloud, which is of another version: {error}; \
             `--output json` prints it as it is"
        ))
    })
}

/// Returns the entries of the list under `name`, as they are.
///
/// # Errors
/// As [`read`], when there is no such list.
pub(crate) fn list<'a>(answer: &'a Value, name: &str) -> Result<&'a [Value], Failure> {
    match answer[name].as_array() {
        Some(entries) => Ok(entries),
        None => read::<Vec<Value>>(&answer[name]).map(|_| &[][..]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_another_version_is_refused_with_what_is_missing() {
        let group = json!({"id": "8a0d2a5c-7ad6-4ad2-8c0f-9a4f3f3a0001", "name": "north"});
        let error = read::<iottly_web::answers::GroupDto>(&group).expect_err("fields are missing");
        let text = error.to_string();
        assert!(
            text.contains("missing field `status`") && text.contains("--output json"),
            "{text}"
        );
    }
}
