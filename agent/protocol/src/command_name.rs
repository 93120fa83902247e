//! Names of commands: which ones a project may define, and which ones a script can declare as a function.
//!
//! A command's name becomes the key of a handler in a firmware. In a script the handler is either a function
//! of that name, or an entry of the table `commands` if the language or the platform already gives the name a
//! meaning.

/// Maximum size of a command's name, in bytes.
pub const MAX_COMMAND_NAME_BYTES: usize = 64;

/// Functions that the platform calls in every firmware, and the sections of a branch: never commands.
const SECTIONS: &[&str] = &[
    "event", "global", "health", "init", "loop", "metadata", "shutdown",
];

/// Names that every script finds without an import. `cloud/builder/tests/it/names.rs` compares them with the
/// prelude.
const PRELUDE: &[&str] = &[
    "Fault",
    "adc",
    "clearInterval",
    "clearTimeout",
    "commands",
    "config",
    "console",
    "gpio",
    "i2c",
    "identity",
    "log",
    "performance",
    "pwm",
    "send_msg",
    "setInterval",
    "setTimeout",
    "spi",
    "state",
    "uart",
];

/// Words of JavaScript that cannot be the name of a function in a module.
const WORDS: &[&str] = &[
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
    "async",
];

/// Names of the language's own library: a function of such a name would hide it from the rest of the script.
const LIBRARY: &[&str] = &[
    "AggregateError",
    "Array",
    "ArrayBuffer",
    "AsyncDisposableStack",
    "Atomics",
    "BigInt",
    "BigInt64Array",
    "BigUint64Array",
    "Boolean",
    "DOMException",
    "DataView",
    "Date",
    "DisposableStack",
    "Error",
    "EvalError",
    "FinalizationRegistry",
    "Float16Array",
    "Float32Array",
    "Float64Array",
    "Function",
    "Infinity",
    "Int16Array",
    "Int32Array",
    "Int8Array",
    "InternalError",
    "Iterator",
    "JSON",
    "Map",
    "Math",
    "NaN",
    "Number",
    "Object",
    "Promise",
    "Proxy",
    "RangeError",
    "ReferenceError",
    "Reflect",
    "RegExp",
    "Set",
    "SharedArrayBuffer",
    "String",
    "SuppressedError",
    "Symbol",
    "SyntaxError",
    "TypeError",
    "URIError",
    "Uint16Array",
    "Uint32Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "WeakMap",
    "WeakRef",
    "WeakSet",
    "atob",
    "btoa",
    "decodeURI",
    "decodeURIComponent",
    "encodeURI",
    "encodeURIComponent",
    "escape",
    "globalThis",
    "isFinite",
    "isNaN",
    "navigator",
    "parseFloat",
    "parseInt",
    "queueMicrotask",
    "undefined",
    "unescape",
    "wit",
];

/// Reason why a name is not allowed for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The name is empty, too long, or has characters outside of letters, digits, `_` and `-`.
    #[error("a name has 1 to {MAX_COMMAND_NAME_BYTES} bytes of letters, digits, \"_\" and \"-\"")]
    Form,
    /// The platform calls a function of this name in every firmware, or a section of the code has this name.
    #[error("every firmware has a function or section of this name")]
    Section,
    /// Scripts find a function or object of the platform under this name.
    #[error("scripts find a function or object of the platform under this name")]
    Platform,
}

/// Checks that a project may define a command of this name. Every name that passes can be built, and its
/// handler is found.
///
/// # Errors
/// [`BadName`], whose text completes "the command's name … is refused:".
pub fn is_good_name(name: &str) -> Result<(), BadName> {
    let plain = name
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    if name.is_empty() || name.len() > MAX_COMMAND_NAME_BYTES || !plain {
        return Err(BadName::Form);
    }
    if SECTIONS.contains(&name) {
        return Err(BadName::Section);
    }
    if PRELUDE.contains(&name) || name.starts_with("__iottly") {
        return Err(BadName::Platform);
    }
    Ok(())
}

/// Returns true if a script may declare `function NAME(command)` for this command. Otherwise its handler is
/// written `commands["NAME"] = function (command)`: the name is not an identifier, or has another meaning in
/// the script.
#[must_use]
pub fn is_function_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let identifier = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let taken = [SECTIONS, PRELUDE, WORDS, LIBRARY]
        .iter()
        .any(|names| names.contains(&name));
    identifier && !taken && !name.starts_with("__")
}

/// Returns the names of the language's own library, in no particular order.
#[must_use]
pub const fn library_names() -> &'static [&'static str] {
    LIBRARY
}

/// Returns the names that scripts find without an import, in no particular order.
#[must_use]
pub const fn platform_names() -> &'static [&'static str] {
    PRELUDE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_meaning_are_refused_with_their_reason() {
        for name in [
            "init", "loop", "health", "shutdown", "event", "global", "metadata",
        ] {
            assert_eq!(is_good_name(name), Err(BadName::Section), "{name}");
        }
        for name in [
            "state",
            "log",
            "send_msg",
            "gpio",
            "config",
            "commands",
            "__iottly_find",
        ] {
            assert_eq!(is_good_name(name), Err(BadName::Platform), "{name}");
        }
        for name in [
            "",
            "a b",
            "a\"b",
            "a\nb",
            "a.b",
            "x;y",
            "\u{1F525}",
            &"n".repeat(65),
        ] {
            assert_eq!(is_good_name(name), Err(BadName::Form), "{name}");
        }
    }

    #[test]
    fn words_of_the_language_are_good_names_and_go_through_the_table() {
        for name in [
            "switch",
            "set-target",
            "1st",
            "größe",
            "await",
            "let",
            "JSON",
            "eval",
            "constructor-",
            "class",
            "parseInt",
        ] {
            assert_eq!(is_good_name(name), Ok(()), "{name}");
            assert!(!is_function_name(name), "{name}");
        }
        for name in [
            "echo",
            "set_target",
            "_old",
            "a1",
            "constructor",
            "toString",
            "States",
        ] {
            assert_eq!(is_good_name(name), Ok(()), "{name}");
            assert!(is_function_name(name), "{name}");
        }
        assert!(
            !is_function_name("__any")
                && !is_function_name("state")
                && !is_function_name("loop")
                && !is_function_name("")
        );
    }
}
