#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    rustdoc::all,
    reason = "generated code"
)]

wit_bindgen::generate!({
    path: "../wit",
    world: "firmware",
    pub_export_macro: true,
    export_macro_name: "export",
    default_bindings_module: "iottly_firmware::bindings",
    additional_derives: [PartialEq],
});
