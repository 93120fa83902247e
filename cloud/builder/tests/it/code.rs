//! Components with code of their own, as Rust firmware and older builders make them.

use std::path::Path;

use iottly_builder::{BuildError, capabilities};
use iottly_sandbox::Limits;
use wit_component::{StringEncoding, embed_component_metadata};

use crate::common::{Board, compiled};

/// Returns a core module that does nothing and holds handles of pins.
fn module() -> Vec<u8> {
    let mut core = wat::parse_str(
        r#"(module
          (import "iottly:firmware/gpio@0.1.0" "[resource-drop]output-pin" (func (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 1028) "\f4\01\00\00")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 2048))
          (func (export "iottly:firmware/app@0.1.0#init") (result i32) (i32.const 1024))
          (func (export "iottly:firmware/app@0.1.0#handle") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
          (func (export "iottly:firmware/app@0.1.0#tick") (param i64) (result i32) (i32.const 1024))
          (func (export "iottly:firmware/app@0.1.0#event") (param i32 i64) (result i32) (i32.const 1024))
          (func (export "iottly:firmware/app@0.1.0#health") (result i32) (i32.const 1024))
          (func (export "iottly:firmware/app@0.1.0#shutdown") (param i32 i32) (result i32) (i32.const 1024)))"#,
    )
    .unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sandbox/wit");
    let (package, _) = resolve.push_path(wit).unwrap();
    let world = resolve.select_world(&[package], Some("firmware")).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    core
}

#[test]
fn code_runs_and_needs_a_label_for_what_it_imports() {
    let component = iottly_builder::component(&module()).unwrap();
    let named = |manifest: &str| iottly_manifest::embed(&component, manifest).unwrap();
    let firmware = named("name = \"a\"\n[capabilities]\ngpio = [\"led\"]\n");
    assert_eq!(capabilities(&firmware).unwrap(), ["gpio"]);
    let mut board = Board::on(&compiled(&firmware), Limits::default());
    assert_eq!((board.instance.init(), board.tick()), (Ok(()), Ok(500)));

    for silent in [component.clone(), named("name = \"a\"")] {
        let error = capabilities(&silent).unwrap_err();
        assert!(
            matches!(&error, BuildError::Component(text) if text.contains("the code imports gpio")),
            "{error}"
        );
    }
}
