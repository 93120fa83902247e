//! Names and expressions of C for what WIT and the canonical ABI name otherwise. Pure.

use wit_parser::abi::WasmType;

pub(crate) fn or_void(list: String) -> String {
    if list.is_empty() { "void".to_owned() } else { list }
}

pub(crate) fn c_type(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "uint32_t",
        WasmType::I64 | WasmType::PointerOrI64 => "uint64_t",
        WasmType::F32 => "float",
        WasmType::F64 => "double",
    }
}

pub(crate) fn from_slot(ty: WasmType, at: usize) -> String {
    match ty {
        WasmType::F32 => format!("slot_f32(s[{at}])"),
        WasmType::F64 => format!("slot_f64(s[{at}])"),
        ty => format!("({})s[{at}]", c_type(ty)),
    }
}

pub(crate) fn as_slot(ty: WasmType, value: &str) -> String {
    match ty {
        WasmType::F32 => format!("f32_slot({value})"),
        WasmType::F64 => format!("f64_slot({value})"),
        _ => value.to_owned(),
    }
}

pub(crate) fn to_slot(ty: WasmType, value: &str) -> String {
    format!("s[0] = {};", as_slot(ty, value))
}

/// `open-input` as `openInput`.
pub(crate) fn camel(name: &str) -> String {
    let name = pascal(name);
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_ascii_lowercase().to_string() + letters.as_str())
        .unwrap_or_default()
}

/// `output-pin` as `OutputPin`.
pub(crate) fn pascal(name: &str) -> String {
    name.split('-')
        .map(|part| {
            let mut letters = part.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
                .unwrap_or_default()
        })
        .collect()
}
